// Command release makes what a release has besides its archives: an OCI image
// for two platforms, without a container engine, and its SBOMs; the chart; the
// notes; the provenance and the checksums of all. It reads all of it back.
// .ci/release calls it; it knows no git, and builds no binary.
//
//	release notes -version V -epoch SECONDS [-tagged] [-into FILE] SOURCE
//	release make  -version V -commit C -epoch SECONDS [-tagged] [-builder URI] -zones FILE -tools FOLDER -source FOLDER DIST
//	release check DIST
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

var isCommit = regexp.MustCompile(`^[0-9a-f]{40}$`)

func run(args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		return errors.New("say what: notes, make or check")
	}
	var (
		r       release
		epoch   int64
		tagged  bool
		builder string
		zones   string
		tools   string
		source  string
		into    string
	)
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&r.version, "version", "", "version, as its tag has it")
	flags.StringVar(&r.commit, "commit", "", "commit that was built, 40 digits")
	flags.Int64Var(&epoch, "epoch", 0, "time of the commit, seconds since 1970")
	flags.BoolVar(&tagged, "tagged", false, "the commit has the tag of the version")
	flags.StringVar(&builder, "builder", "", "URI of who builds; by hand when empty")
	flags.StringVar(&zones, "zones", "", "lib/time/zoneinfo.zip of the Go that built")
	flags.StringVar(&tools, "tools", "", "folder of the tools that were used")
	flags.StringVar(&source, "source", "", "folder of the sources")
	flags.StringVar(&into, "into", "", "file for the notes")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return fmt.Errorf("%s takes one folder, and has %d", args[0], flags.NArg())
	}
	r.time = time.Unix(epoch, 0)
	if args[0] == "check" {
		checked, err := check(flags.Arg(0))
		if err != nil {
			return fmt.Errorf("%s is not what it says it is:\n%w", flags.Arg(0), err)
		}
		fmt.Fprintf(stdout, "%s is whole: closeorder %s of commit %.12s, its archives, image, SBOMs, provenance and checksums agree\n", flags.Arg(0), checked.version, checked.commit)
		return nil
	}
	if !isVersion.MatchString(r.version) {
		return fmt.Errorf("-version is %q; write v0.1.0", r.version)
	}
	if epoch <= 0 {
		return fmt.Errorf("-epoch is %d; give the time of the commit in seconds", epoch)
	}
	switch args[0] {
	case "notes":
		return writeNotes(&r, flags.Arg(0), into, tagged, stderr)
	case "make":
		if !isCommit.MatchString(r.commit) {
			return fmt.Errorf("-commit is %q; give all 40 digits", r.commit)
		}
		r.folder = flags.Arg(0)
		return assemble(&r, circumstances{builder: builder, tagged: tagged, tools: tools}, zones, source, stdout)
	}
	return fmt.Errorf("there is no %q; say notes, make or check", args[0])
}

func writeNotes(r *release, source, into string, tagged bool, stderr io.Writer) error {
	text, err := os.ReadFile(filepath.Join(source, "CHANGELOG.md"))
	if err != nil {
		return err
	}
	sections, err := readChangelog(string(text))
	if err != nil {
		return err
	}
	notes, warning, err := notesOf(sections, r, tagged)
	if err != nil {
		return err
	}
	if warning != "" {
		fmt.Fprintln(stderr, "***", warning)
	}
	if into == "" {
		return nil
	}
	return os.WriteFile(into, []byte(notes), 0o644)
}
