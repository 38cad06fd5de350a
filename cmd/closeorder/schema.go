package main

import (
	"fmt"
	"strings"

	"github.com/closeorder/closeorder/events/schema"
	"github.com/closeorder/closeorder/internal/slips"
	"github.com/spf13/cobra"
)

// schemas are the documents by the names that the command has for them.
var schemas = []struct{ name, what, text string }{
	{"request", "JSON Schema of a request's value: check it before you send it", schema.Request},
	{"outcome", "JSON Schema of an outcome's value: generate types from it", schema.Outcome},
	{"dead-letter", "JSON Schema of a dead letter's headers, as an object of texts", schema.DeadLetter},
	{"asyncapi", "AsyncAPI 3 of the topics, in YAML: keys, headers and values, with the three in it", schema.AsyncAPI},
}

func (a *app) schemaCommand() *cobra.Command {
	var names []string
	for _, s := range schemas {
		names = append(names, s.name)
	}
	cmd := &cobra.Command{
		Use:     "schema [" + strings.Join(names, " | ") + "]",
		Short:   "Prints what is on the wire as JSON Schema and AsyncAPI",
		GroupID: "tool",
		Long: `Prints a document for validators, generators and registries; without an
argument, which ones there are. Each stands by itself and refers to no other.

The schemas are JSON Schema, draft 2020-12. What that of a request takes the
worker serves, but for what a schema cannot say: each field may occur once,
texts are measured in bytes, expires_at lies after not_before, the replacement
is another number, and a name that is nearly one of ours is refused.`,
		Example: `closeorder schema request > request.schema.json
closeorder schema asyncapi > asyncapi.yaml`,
		ValidArgs: names,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("takes one argument, %s, or none", strings.Join(names, ", "))
			}
			return nil
		},
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			rows := [][]string{{"SCHEMA", "WHAT FOR"}}
			for _, s := range schemas {
				rows = append(rows, []string{s.name, s.what})
			}
			whole(a.stdout, rows)
			return nil
		}
		for _, s := range schemas {
			if s.name == args[0] {
				fmt.Fprint(a.stdout, s.text)
				return nil
			}
		}
		text := fmt.Sprintf("there is no schema %q", args[0])
		if near := slips.Near(args[0], names, 3); near != "" {
			return usagef("%s; did you mean %s?", text, near)
		}
		return usagef("%s; there are %s", text, strings.Join(names, ", "))
	}
	return cmd
}
