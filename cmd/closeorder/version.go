package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

type version struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Time     string `json:"time,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// builtFrom is what the Go toolchain noted in the binary.
func builtFrom() version {
	v := version{Version: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.time":
			v.Time = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

// String is the build in one line.
func (v version) String() string {
	text := v.Version
	if v.Revision != "" {
		text += fmt.Sprintf(" (%.12s, %s)", v.Revision, v.Time)
	}
	return text + " " + v.Go + " " + v.Platform
}

func (a *app) versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "version", Short: "Says which build this is", GroupID: "tool", Args: noArgs,
	}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(*cobra.Command, []string) error {
		v := builtFrom()
		if *asJSON {
			return json.NewEncoder(a.stdout).Encode(v)
		}
		fmt.Fprintf(a.stdout, "closeorder %v\n", v)
		return nil
	}
	return cmd
}
