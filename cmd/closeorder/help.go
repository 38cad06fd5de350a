package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// usage prints how a command is called: its own flags first, then those that
// stand for settings, which many commands share.
func usage(cmd *cobra.Command) error {
	out := cmd.OutOrStderr()
	p := func(format string, args ...any) { fmt.Fprintf(out, format, args...) }

	// One with settings does something by itself, whatever commands it has besides.
	does := !cmd.HasAvailableSubCommands() || cmd.Flags().Lookup("config") != nil
	p("Usage:\n")
	if does {
		p("  %s\n", cmd.UseLine())
	}
	if cmd.HasAvailableSubCommands() {
		p("  %s COMMAND\n", cmd.CommandPath())
	}
	if cmd.HasExample() {
		p("\nExamples:\n  %s\n", strings.ReplaceAll(cmd.Example, "\n", "\n  "))
	}
	groups := cmd.Groups()
	if len(groups) == 0 && cmd.HasAvailableSubCommands() {
		groups = []*cobra.Group{{Title: "Commands:"}}
	}
	for _, g := range groups {
		p("\n%s\n", g.Title)
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() && sub.GroupID == g.ID {
				p("  %-11s %s\n", sub.Name(), sub.Short)
			}
		}
	}
	own, shared := pflag.NewFlagSet("", pflag.ContinueOnError), pflag.NewFlagSet("", pflag.ContinueOnError)
	own.SortFlags, shared.SortFlags = false, false
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Annotations[annotation] == nil {
			own.AddFlag(f)
		} else {
			shared.AddFlag(f)
		}
	})
	if own.HasAvailableFlags() && does {
		p("\nFlags:\n%s", own.FlagUsages())
	}
	if shared.HasAvailableFlags() {
		p("\nSettings. Each can also be an environment variable (--kafka-brokers is\n" +
			"CLOSEORDER_KAFKA_BROKERS) or stand in the YAML file (kafka.brokers); flags win\n" +
			"over the environment, the environment over the file:\n")
		settingUsages(out, cmd, shared)
	}
	if cmd.HasAvailableSubCommands() {
		p("\nSee %s COMMAND --help for what a command does.\n", cmd.CommandPath())
	}
	return nil
}

func settingUsages(out io.Writer, cmd *cobra.Command, flags *pflag.FlagSet) {
	var rows [][]string
	flags.VisitAll(func(f *pflag.Flag) {
		text := f.Usage
		if f.DefValue != "" {
			text += " (" + f.DefValue + ")"
		}
		rows = append(rows, []string{"  --" + f.Name, text})
	})
	for _, env := range slices.Sorted(maps.Keys(cmd.Annotations)) {
		rows = append(rows, []string{"  " + env, cmd.Annotations[env] + "; no flag, as a command line can be read by others"})
	}
	whole(out, rows)
}
