package main

import (
	"errors"

	"github.com/closeorder/closeorder/internal/slips"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagError says what is wrong with a flag in words of ours: pflag's carry what
// strconv says, and suggest nothing.
func flagError(cmd *cobra.Command, err error) error {
	var value *pflag.InvalidValueError
	var unknown *pflag.NotExistError
	switch {
	case errors.As(err, &value):
		return usagef("--%s: %q is not %s", value.GetFlag().Name, value.GetValue(), kindOf(value.GetFlag()))
	case errors.As(err, &unknown) && len(unknown.GetSpecifiedName()) > 1:
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near := slips.Near(unknown.GetSpecifiedName(), names, 3); near != "" {
			return usagef("there is no flag --%s; did you mean --%s?", unknown.GetSpecifiedName(), near)
		}
		return usagef("there is no flag --%s", unknown.GetSpecifiedName())
	}
	return &usageError{err.Error()}
}

// kindOf is what a flag takes.
func kindOf(f *pflag.Flag) string {
	switch f.Value.Type() {
	case "bool":
		return "true or false"
	case "duration":
		return "a duration; write for example 500ms, 10s, 5m or 1h30m"
	case "float64":
		return "a number"
	case "int", "int64", "uint64":
		return "a whole number"
	}
	return "what it takes (" + f.Value.Type() + ")"
}
