package main

import (
	"fmt"
	"slices"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// settings are the flags of a command that stand for settings.
type settings struct {
	app      *app
	flags    *pflag.FlagSet
	sections []config.Section
	also     []string          // settings of other sections that are checked
	names    map[string]string // flag to name of the setting
	file     string
	asks     bool // --ask-gateway, see mayAsk
}

// annotation marks the flags that stand for settings, for the help text.
const annotation = "closeorder"

// settings gives cmd the flags of some sections, and --config. The settings
// named in except get no flag: the command has its own of that name.
func (a *app) settings(cmd *cobra.Command, sections []config.Section, except ...string) *settings {
	s := &settings{app: a, flags: cmd.Flags(), sections: sections, names: map[string]string{}}
	s.flags.SortFlags = false // the table has its own order
	s.flags.StringVar(&s.file, "config", "", "YAML `FILE` of settings (or "+config.EnvFile+")")
	cmd.Annotations = map[string]string{} // secrets, which have no flag
	for _, one := range config.Settings(sections...) {
		if one.Secret {
			cmd.Annotations[one.Env()] = one.What
		}
		if !slices.Contains(except, one.Name) {
			s.add(one)
		}
	}
	return s
}

// all are the sections that are asked for in this call.
func (s *settings) all() []config.Section {
	if s.asks {
		return append(slices.Clone(s.sections), config.Calls)
	}
	return s.sections
}

// alsoOf gives the command settings of a section that it does not ask for: of the
// rest of that nothing is checked.
func (s *settings) alsoOf(section config.Section, names ...string) {
	for _, one := range config.Settings(section) {
		if slices.Contains(names, one.Name) {
			s.add(one)
			s.also = append(s.also, one.Name)
		}
	}
}

// add gives the command the flag of a setting, if that has one.
func (s *settings) add(one config.Setting) {
	name := one.Flag()
	if name == "" {
		return
	}
	s.names[name] = one.Name
	text, what := settingFlag(one.Default), one.What
	if one.Renamed() {
		what += "; in a file " + one.Name
	}
	flag := s.flags.VarPF(&text, name, "", what)
	flag.Annotations = map[string][]string{annotation: {"setting"}}
	if one.Default == "true" || one.Default == "false" {
		flag.NoOptDefVal = "true"
	}
}

// load reads the settings from flags, environment and file. What is doubtful
// about them is said on standard error.
func (s *settings) load() (config.Config, error) { return s.loadFor("") }

// loadFor does the same for a command that acts for one merchant.
func (s *settings) loadFor(mchID string) (config.Config, error) {
	cfg, err := config.Load(s.source(mchID), s.all()...)
	// A command that has a log of its own writes them there.
	if !slices.Contains(s.sections, config.Logging) {
		for _, warning := range cfg.Warnings {
			fmt.Fprintf(s.app.stderr, "closeorder: warning: %s\n", warning)
		}
	}
	return cfg, err
}

// source is where the settings come from.
func (s *settings) source(mchID string) config.Source {
	from := config.Source{Flags: map[string]string{}, Env: s.app.env, File: s.file, Merchant: mchID, Also: s.also}
	s.flags.Visit(func(f *pflag.Flag) {
		if name, ok := s.names[f.Name]; ok {
			from.Flags[name] = f.Value.String()
		}
	})
	return from
}

// settingFlag is the text of a setting; config parses it.
type settingFlag string

func (f *settingFlag) String() string        { return string(*f) }
func (f *settingFlag) Set(text string) error { *f = settingFlag(text); return nil }
func (f *settingFlag) Type() string          { return "VALUE" }
