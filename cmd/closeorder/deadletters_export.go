package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/deadletters"
	"github.com/spf13/cobra"
)

func (a *app) deadLettersExportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "export", Short: "Writes dead letters as JSON lines, byte for byte", Args: noArgs,
		Long: `Writes dead letters to standard output, each as a line of JSON with all of its
bytes: to keep them as evidence, or to take them to another cluster with
"deadletters import". Nothing is edited, left out or masked.

A key, a value or a header's value is null, a string, or {"base64": "..."} where
it is no UTF-8; headers are pairs in their order. A value that a broker did not
take is not there either: the line says where the request stands.`,
		Example: `closeorder deadletters export > dead-letters.ndjson
closeorder deadletters export --code UNKNOWN_MERCHANT --since 24h | gzip > evidence.ndjson.gz`,
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	var filter letterFilter
	filter.add(flags)
	settings := a.settings(cmd, []config.Section{config.Connection, config.TopicNames})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var wrong misuse
		f, err := filter.parse(time.Now())
		wrong.add(err)
		c, err := settings.connect(&wrong)
		if err != nil {
			return err
		}
		defer c.close()
		asking, cancel := reach(cmd.Context())
		defer cancel()
		reader := c.reader()
		stretch, err := deadletters.Find(asking, reader, c.topics.DeadLetters, f)
		if err != nil {
			return err
		}
		bar := a.progress("reading", stretch.Records())
		defer bar.finish()
		n, err := deadletters.Export(cmd.Context(), reader, stretch, f, func() { bar.add(1) }, escaped{a.stdout})
		bar.finish()
		if cmd.Context().Err() != nil {
			return errors.New("stopped: the export is not whole")
		}
		if err == nil && n == 0 {
			fmt.Fprintf(a.stderr, "closeorder: no dead letter matches in %s\n", c.topics.DeadLetters)
		}
		return err
	}
	return cmd
}

func (a *app) deadLettersImportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "import FILE", Short: "Puts exported dead letters back; without --yes it says what it would do",
		Long: `Reads the lines of "deadletters export", from a file or with - from standard
input, and writes the dead letters to the dead-letter topic: key, value and
headers byte for byte, to the partition with the same number where there is one.
What stands there already is left out, so that an import can be repeated. None of
their requests is sent by it: see "deadletters list" and "deadletters replay".

A line that is no dead letter is left out and named. One that cannot be read ends
it; what was read before it is written. Exit code 0: done, or there was nothing to
do; 1: something is left.`,
		Example: `closeorder deadletters import dead-letters.ndjson
gunzip -c evidence.ndjson.gz | closeorder deadletters import - --yes`,
	}
	yes := cmd.Flags().Bool("yes", false, "write them")
	settings := a.settings(cmd, []config.Section{config.Connection, config.TopicNames})
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usagef("takes one argument, a file of \"deadletters export\", or - for standard input")
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var wrong misuse
		in, called, err := a.open(args[0])
		if err != nil {
			wrong.addf("%v", err)
		} else {
			defer in.Close()
		}
		c, err := settings.connect(&wrong)
		if err != nil {
			return err
		}
		defer c.close()
		if err := c.exist(cmd.Context(), c.topics.DeadLetters); err != nil {
			return err
		}
		bar := &progress{}
		defer func() { bar.finish() }()
		done, err := deadletters.Import{
			Reader: c.reader(), Writer: c.writer(), Topic: c.topics.DeadLetters, Write: *yes, Patience: 2 * reachTimeout,
			OnTotal: func(n int64) { bar = a.progress("reading what is there", n) },
			OnRead:  func(n int) { bar.add(n) },
			OnLeft: func(line int, err error) {
				fmt.Fprintf(a.stderr, "closeorder: %s: line %d is left: %s\n", called, line, plain(err))
			},
		}.Run(cmd.Context(), in)
		bar.finish()
		if err == nil || done.Written > 0 { // else it would read like a good end
			a.printImported(done, c.topics.DeadLetters, *yes)
		}
		switch {
		case cmd.Context().Err() != nil:
			return errors.New("stopped; the same command goes on with the rest")
		case err != nil:
			return fmt.Errorf("%s: %w", called, err)
		case done.Left > 0:
			return errBadNews
		}
		return nil
	}
	return cmd
}

func (a *app) printImported(done deadletters.Imported, topic string, yes bool) {
	rest := fmt.Sprintf("; %d there already, %d left", done.There, done.Left)
	switch {
	case done.Written == 0:
		fmt.Fprintf(a.stdout, "nothing to do in %s%s\n", topic, rest)
	case yes:
		fmt.Fprintf(a.stdout, "%s written to %s%s\n", count(done.Written, "dead letter"), topic, rest)
	default:
		fmt.Fprintf(a.stdout, "%s would be written to %s%s. Nothing was written; to write them add --yes\n", count(done.Written, "dead letter"), topic, rest)
	}
}
