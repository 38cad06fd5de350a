package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/spf13/cobra"
)

// Exit codes, the same for every command.
const (
	exitDone  = 0
	exitBad   = 1 // it failed, or what it found is bad
	exitUsage = 2 // wrong flags, arguments or configuration

	exitNeverSeen = 3 // of trace alone: nobody has asked about the order
)

// app is one invocation: what a process has, so that a test can be one.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	env            []string
	// setGCPercent is debug.SetGCPercent; nil where the process is not this
	// command's alone.
	setGCPercent func(int) int
}

// run is the program. It returns the exit code, and when ctx ends it stops
// what it does in good order.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, env []string) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, env: env}
	return a.run(ctx, args)
}

func (a *app) run(ctx context.Context, args []string) int {
	out := &output{Writer: a.stdout}
	a.stdout = out
	root := a.root()
	if args == nil {
		args = []string{} // cobra takes nil for os.Args
	}
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if lost := out.failure(); lost != nil && (err == nil || errors.Is(err, errBadNews) || errors.Is(err, errNeverSeen)) {
		err = errors.Join(besides(besides(err, errBadNews), errNeverSeen), fmt.Errorf("standard output: %w", lost))
	}
	return a.exit(cmd, err)
}

// output is a standard output that remembers whether a write failed, so that
// no command has to look at each of its own. It is safe for concurrent use.
type output struct {
	io.Writer
	mu  sync.Mutex
	err error // the first
}

func (o *output) Write(b []byte) (int, error) {
	n, err := o.Writer.Write(b)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = cmp.Or(o.err, err)
	return n, err
}

func (o *output) failure() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// stopped is why a command ends that was asked to stop.
type stopped struct{}

func (stopped) Error() string { return "stopped" }

func (stopped) Is(target error) bool { return target == context.Canceled }

// usageError is a mistake in flags or arguments.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// errBadNews ends a command with exit code 1 when all that is to be said was said.
var errBadNews = errors.New("bad news")

func (a *app) exit(cmd *cobra.Command, err error) int {
	var usage *usageError
	var mistakes config.Mistakes
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errBadNews):
		// What failed beside it was not said yet.
		if rest := besides(err, errBadNews); rest != nil {
			fmt.Fprintf(a.stderr, "closeorder: %s\n", plain(rest))
		}
		return exitBad
	case errors.Is(err, errNeverSeen):
		return exitNeverSeen
	case errors.As(err, &mistakes):
		fmt.Fprintf(a.stderr, "closeorder: %v\n", err)
		return exitUsage
	case errors.As(err, &usage):
		fmt.Fprintf(a.stderr, "closeorder: %v\nSee: %s --help\n", err, cmd.CommandPath())
		return exitUsage
	default:
		fmt.Fprintf(a.stderr, "closeorder: %s\n", plain(err))
		return exitBad
	}
}

// besides is err without one of the errors that are joined in it.
func besides(err, known error) error {
	if err == known { //nolint:errorlint // what joins it holds others besides
		return nil
	}
	several, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	var rest []error
	for _, one := range several.Unwrap() {
		rest = append(rest, besides(one, known))
	}
	return errors.Join(rest...)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "closeorder",
		Short: "Closes WeChat Pay orders on request from Kafka",
		Long: `closeorder turns every "close this order" event into exactly one trustworthy
answer on a Kafka topic: closed, paid or failed.

To see it at work, with nothing to install:  closeorder dev`,
		Args:          noCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true, // exit prints them
		SilenceUsage:  true,
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(flagError)
	root.Version = builtFrom().String()
	root.SetVersionTemplate("closeorder {{.Version}}\n")
	root.SetUsageFunc(usage)
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddGroup(
		&cobra.Group{ID: "work", Title: "The worker:"},
		&cobra.Group{ID: "look", Title: "Requests and outcomes:"},
		&cobra.Group{ID: "tool", Title: "Tools:"},
	)
	root.AddCommand(
		a.devCommand(), a.runCommand(), a.doctorCommand(), a.topicsCommand(),
		a.requestCommand(), a.outcomesCommand(), a.traceCommand(), a.statusCommand(), a.consoleCommand(), a.auditCommand(), a.deadLettersCommand(),
		a.closeCommand(), a.signCommand(), a.verifyCommand(), a.simulateCommand(), a.schemaCommand(), a.versionCommand(),
	)
	return root
}

func noCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("there is no command %q", strings.TrimSpace(cmd.CommandPath()+" "+args[0]))
	cmd.SuggestionsMinimumDistance = 2 // cobra has 0 for all but its own messages
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		text += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return &usageError{text}
}

// noArgs refuses arguments as wrong usage.
func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("takes no argument, but was given %q", args[0])
	}
	return nil
}

// open opens a file, or standard input for "-", and says what to call it.
func (a *app) open(name string) (in io.ReadCloser, called string, err error) {
	if name == "-" {
		return io.NopCloser(a.stdin), "standard input", nil
	}
	in, err = os.Open(name)
	return in, name, err
}

func (a *app) getenv(name string) string {
	value := ""
	for _, entry := range a.env {
		if v, ok := strings.CutPrefix(entry, name+"="); ok {
			value = v
		}
	}
	return value
}
