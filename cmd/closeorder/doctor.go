package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/doctor"
	"github.com/spf13/cobra"
)

func (a *app) doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "doctor", Short: "Says whether it is safe to run, and what to do", GroupID: "work", Args: noArgs,
		Long: `Examines what a worker with these settings would meet, and says what is wrong,
what was seen of it and what to do, the worst first:

  danger    requests or outcomes would be lost, or nothing served
  warning   it works until something else fails, or not for all; or it could not
            be examined
  note      nothing is wrong, and somebody may want to know it
  ok        it was examined

It looks at the settings, each broker at the address that it advertises, the
topics and their settings, ACLs, transactions, the group and its positions, the
keys of the last requests, the gateway's hosts and their certificates, and the
clock of this machine. It changes nothing and joins no group. What is away takes
nothing from the rest. Each finding is explained in docs/operations.md.

With --probe the gateway is asked in the name of each merchant, ten a second,
about an order that cannot exist: a reply that is signed with the merchant's key
proves the key, and nothing is concluded about any order.

Exit code 0: it is safe to run; 1: there is a danger.`,
		Example: `closeorder doctor --config closeorder.yaml
closeorder doctor --config closeorder.yaml --probe --json | jq '.findings[] | select(.severity != "ok")'`,
	}
	flags := cmd.Flags()
	probe := flags.Bool("probe", false, "ask the gateway in the name of each merchant, about an order that cannot exist")
	asJSON := flags.Bool("json", false, "print one JSON document")
	settings := a.settings(cmd, config.Everything())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.examine(cmd.Context(), settings, *probe, *asJSON)
	}
	return cmd
}

// examine prints what the doctor finds; the error is errBadNews where it would not
// be safe to run.
func (a *app) examine(ctx context.Context, settings *settings, probe, asJSON bool) error {
	from := settings.source("")
	d := doctor.New(func(sections ...config.Section) (config.Config, error) { return config.Load(from, sections...) })
	d.Probe = probe
	bar := a.progress("examining", int64(d.Steps()))
	defer bar.finish()
	d.OnStep = func() { bar.add(1) }
	report := d.Examine(ctx)
	bar.finish()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var err error
	if asJSON {
		enc := a.jsonLines()
		enc.SetIndent("", "  ")
		err = enc.Encode(report)
	} else {
		a.printExamination(report)
	}
	if !report.Safe {
		return errBadNews
	}
	return err
}

// colourOf is the colour of a severity; none for a note.
var colourOf = map[doctor.Severity]string{doctor.OK: green, doctor.Warning: yellow, doctor.Danger: red}

// printExamination prints what was found, each remedy below its evidence; its last
// line is the sum.
func (a *app) printExamination(r *doctor.Report) {
	p := a.paint(a.stdout)
	rows := [][]string{p.heads("SEVERITY", "CHECK", "SUBJECT", "FOUND, AND WHAT TO DO")}
	for _, f := range r.Findings {
		severity := f.Severity.String()
		if colour := colourOf[f.Severity]; colour != "" {
			severity = p.in(colour, severity)
		}
		rows = append(rows, []string{severity, f.Check, cell(f.Subject), cell(f.Evidence)})
		if f.Remedy != "" {
			rows = append(rows, []string{"", "", "", p.in(faint, "-> "+cell(f.Remedy))})
		}
	}
	whole(a.stdout, rows)
	verdict := p.in(green, "safe to run")
	if !r.Safe {
		verdict = p.in(red, "not safe to run")
	}
	var counts []string
	for s := doctor.Danger; s >= doctor.OK; s-- {
		word := map[doctor.Severity]string{doctor.Danger: "danger", doctor.Warning: "warning", doctor.Note: "note"}[s]
		if word == "" {
			counts = append(counts, fmt.Sprintf("%d ok", r.Count(s)))
		} else {
			counts = append(counts, count(r.Count(s), word))
		}
	}
	fmt.Fprintf(a.stdout, "\n%s, as of %s: %s\n", verdict, zoned(r.At), strings.Join(counts, ", "))
}
