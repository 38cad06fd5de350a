package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/deadletters"
	"github.com/spf13/cobra"
)

func (a *app) deadLettersListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "Lists dead letters by code, merchant, order and time", Args: noArgs,
		Long: `Lists dead letters in the order of their failures, each with its place, by
which "show" finds it, and its reason. Where more match than --limit, the newest
are listed. A dead letter stays when its request is closed or paid after all,
by a replay or because it was asked for again: --open leaves those out.`,
		Example: `closeorder deadletters list --code UNKNOWN_MERCHANT --since 24h
closeorder deadletters list --limit 0 --json | jq -r .out_trade_no`,
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	var filter letterFilter
	filter.add(flags)
	open := flags.Bool("open", false, "leave out those whose request has a closed or paid outcome by now")
	limit := flags.Int("limit", 100, "the most that are listed; 0: all")
	asJSON := flags.Bool("json", false, "print JSON lines")
	settings := a.settings(cmd, []config.Section{config.Connection, config.TopicNames})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var wrong misuse
		f, err := filter.parse(time.Now())
		wrong.add(err)
		wrong.must(*limit >= 0, "--limit must not be negative")
		c, err := settings.connect(&wrong)
		if err != nil {
			return err
		}
		defer c.close()
		found, err := a.findLetters(cmd.Context(), c, f, *open, *limit)
		if err != nil {
			return err
		}
		if *asJSON {
			return a.printLetterLines(found)
		}
		a.printLetters(found, *open)
		return nil
	}
	return cmd
}

// foundLetters are the newest of all dead letters that match.
type foundLetters struct {
	lines []deadletters.Listed
	codes map[string]int // of all
	total int
}

func (a *app) findLetters(ctx context.Context, c *cluster, f deadletters.Filter, open bool, limit int) (*foundLetters, error) {
	reader := c.reader()
	answered := map[events.Source]bool{}
	if open {
		var err error
		if answered, err = a.answeredLetters(ctx, c, f); err != nil {
			return nil, err
		}
	}
	asking, cancel := reach(ctx)
	defer cancel()
	stretch, err := deadletters.Find(asking, reader, c.topics.DeadLetters, f)
	if err != nil {
		return nil, err
	}
	found := &foundLetters{codes: map[string]int{}}
	bar := a.progress("reading", stretch.Records())
	defer bar.finish()
	err = deadletters.Each(ctx, reader, stretch, f, func() { bar.add(1) }, func(l deadletters.Letter) error {
		if answered[l.At] {
			return nil
		}
		found.total++
		code := l.ErrorCode
		if l.Err != nil {
			code = "no dead letter"
		}
		found.codes[code]++
		if found.lines = append(found.lines, l.Listed()); limit > 0 && len(found.lines) >= 2*limit {
			found.lines = newest(found.lines, limit)
		}
		return nil
	})
	found.lines = newest(found.lines, limit)
	return found, err
}

// answeredLetters are the dead letters whose request has a final outcome by
// now, as a replay finds them.
func (a *app) answeredLetters(ctx context.Context, c *cluster, f deadletters.Filter) (map[events.Source]bool, error) {
	plan, err := a.planReplay(ctx, c, f, replayOptions{})
	if err != nil {
		return nil, err
	}
	answered := map[events.Source]bool{}
	for _, s := range plan.Steps {
		if s.Skip == deadletters.Answered {
			answered[s.At] = true
		}
	}
	return answered, nil
}

// newest puts letters in the order of their failures and keeps the last of
// them, all with limit 0.
func newest(lines []deadletters.Listed, limit int) []deadletters.Listed {
	slices.SortFunc(lines, func(a, b deadletters.Listed) int {
		return cmp.Or(a.FailedAt.Compare(b.FailedAt), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	if limit > 0 && len(lines) > limit {
		lines = slices.Delete(lines, 0, len(lines)-limit)
	}
	return lines
}

func (a *app) printLetterLines(found *foundLetters) error {
	enc := a.jsonLines()
	for _, l := range found.lines {
		if err := enc.Encode(l); err != nil {
			return err
		}
	}
	if left := found.total - len(found.lines); left > 0 {
		fmt.Fprintf(a.stderr, "closeorder: the newest %d of %d; --limit 0 lists all\n", len(found.lines), found.total)
	}
	return nil
}

func (a *app) printLetters(found *foundLetters, open bool) {
	p := a.paint(a.stdout)
	if found.total == 0 {
		none := "no dead letters"
		if open {
			none = "no dead letters without a closed or paid outcome"
		}
		fmt.Fprintln(a.stdout, none)
		return
	}
	rows := [][]string{p.heads("FAILED", "CODE", "OUT_TRADE_NO", "MCH_ID", "REPLAY", "PARTITION:OFFSET", "REASON")}
	for _, l := range found.lines {
		reason := l.Message
		if l.ValueOmitted != "" {
			reason = join(reason, "value left out: "+l.ValueOmitted)
		}
		if l.Problem != "" {
			reason = "no dead letter: " + l.Problem
		}
		rows = append(rows, []string{
			p.in(faint, zoned(l.FailedAt)), p.in(red, orDash(oneLine(l.Code, 40))), orDash(l.OutTradeNo), merchant(l.MchID, l.SubMchID),
			strconv.Itoa(l.Replay), fmt.Sprintf("%d:%d", l.Partition, l.Offset), oneLine(reason, 120),
		})
	}
	whole(a.stdout, rows)
	fmt.Fprintf(a.stdout, "\n%s: %s\n", p.in(bold, count(found.total, "dead letter")), codes(found.codes))
	if left := found.total - len(found.lines); left > 0 {
		fmt.Fprintf(a.stdout, "The newest %d are listed; --limit 0 lists all.\n", len(found.lines))
	}
}
