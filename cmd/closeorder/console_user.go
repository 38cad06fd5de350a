package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/closeorder/closeorder/internal/access"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func (a *app) consoleUserCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "user NAME", Short: "Writes the line of a user for --auth-file",
		Long: `Reads a password and prints a line for the file that --auth-file names, with the
password hashed by argon2id: NAME:HASH:ROLE. No file is written. The password is
asked for twice where standard input is a terminal, and not shown; else the first
line of standard input is it.

A password has 15 characters or more, as NIST SP 800-63B-4 wants where nothing else
is asked for, and no rule says which: four or five words will do. Hashes of htpasswd
-B -C 12 and of argon2 SALT -id -e -k 65536 -t 3 -p 4 can stand in the file as well,
behind NAME: (without those options both are too fast to try out, and refused).

A console that runs takes up a changed file within seconds: sessions of somebody who
is gone from it, or whose password is another one, end then.`,
		Example: `closeorder console user li.na --role operator >> users
pass show console/li.na | closeorder console user li.na >> users`,
		Args: func(_ *cobra.Command, args []string) error {
			switch len(args) {
			case 0:
				return usagef("takes the name of the user")
			case 1:
				return nil
			}
			return usagef("takes one name, but was given %d", len(args)) // they may be the password
		},
	}
	role := cmd.Flags().String("role", string(access.Viewer), "`ROLE` of the user: viewer reads, operator replays and audits as well")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name := args[0]
		as, err := access.ParseRole(*role)
		if err != nil {
			return usagef("--role: %v", err)
		}
		if err := access.CheckName(name); err != nil {
			return usagef("%v", err)
		}
		password, err := a.newPassword(cmd.Context(), name)
		if err != nil {
			return err
		}
		if err := access.CheckPassword(name, password); err != nil {
			return usagef("%v", err)
		}
		line, err := access.UserLine(name, as, password)
		if err != nil {
			return usagef("%v", err)
		}
		fmt.Fprintln(a.stdout, line)
		if isTerminal(a.stdout) {
			fmt.Fprintln(a.stderr, "This line belongs into the file that --auth-file names; chmod 0640 it, so that not everybody can read it.")
		}
		return nil
	}
	return cmd
}

// newPassword asks for a password twice, without showing it, or takes the first line
// of standard input where that is no terminal.
func (a *app) newPassword(ctx context.Context, name string) (string, error) {
	if !isTerminal(a.stdin) {
		data, err := io.ReadAll(io.LimitReader(a.stdin, 64<<10))
		if err != nil {
			return "", fmt.Errorf("standard input: %w", err)
		}
		line, rest, _ := strings.Cut(strings.TrimPrefix(string(data), "\ufeff"), "\n")
		if strings.Trim(rest, "\r\n") != "" {
			return "", usagef("standard input has more than one line; the password is the first and only one")
		}
		return strings.TrimSuffix(line, "\r"), nil
	}
	first, err := a.hidden(ctx, "Password of "+name+" (is not shown): ")
	if err != nil {
		return "", err
	}
	// What is wrong with it is said before it is typed again.
	if err := access.CheckPassword(name, first); err != nil {
		return "", usagef("%v", err)
	}
	again, err := a.hidden(ctx, "Once more: ")
	if err != nil {
		return "", err
	}
	if first != again {
		return "", usagef("the two passwords are not the same")
	}
	return first, nil
}

// hidden reads a line from the terminal at standard input without showing it. When
// ctx ends the terminal is as it was.
func (a *app) hidden(ctx context.Context, prompt string) (string, error) {
	terminal := int(a.stdin.(*os.File).Fd())
	before, err := term.GetState(terminal)
	if err != nil {
		return "", fmt.Errorf("standard input: %w", err)
	}
	fmt.Fprint(a.stderr, prompt)
	type answer struct {
		text []byte
		err  error
	}
	read := make(chan answer, 1)
	go func() { // left behind with a signal, as nothing ends a read of a terminal
		text, err := term.ReadPassword(terminal)
		read <- answer{text, err}
	}()
	select {
	case got := <-read:
		fmt.Fprintln(a.stderr)
		return string(got.text), got.err
	case <-ctx.Done():
		fmt.Fprintln(a.stderr)
		return "", errors.Join(context.Cause(ctx), term.Restore(terminal, before))
	}
}
