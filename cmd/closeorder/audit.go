package main

import (
	"context"
	"fmt"
	"time"

	"github.com/closeorder/closeorder/internal/audit"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/spf13/cobra"
)

func (a *app) auditCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "audit", Short: "Proves that no request was lost and none answered twice", GroupID: "look", Args: noArgs,
		Long: `Reads requests, retries, outcomes, dead letters and what the workers have
committed, and balances them: every request is closed, paid, failed, waiting in
a retry topic or in flight. It lists what does not fit:

  hole             finished by the workers, and neither answered nor waiting: lost
  contradiction    one outcome of an order says paid and another closed
  misnamed         an outcome that names another order than its request
  deleted unread   retention took requests before a worker had them

With processing_guarantee exactly_once, as the workers have it, what came again
is a finding too:

  duplicate        an outcome or a dead letter that was there before

Workers may run meanwhile: what they are at counts as in flight, never as lost.
Its first line says in words what is going on: what is wrong, and what waits or is
in flight since when, by code and merchant. That alone is no finding; with
--max-age 5m it is one when the oldest of them is older, or nobody serves them:
the group has no member, or no closeorder among its members.

--republish mends holes: without --yes it says what it would send, with --yes each
request that was lost is sent to its partition of the requests topic once more, byte
for byte, as a replay of itself. An audit then counts the hole as republished, and
balances again when that is answered. A run that was stopped goes on when it is
called again, as what was sent is no hole any more; only two at one time would send
twice, which is harmless: closing is idempotent.

With --since and --until the requests of that time are audited, by their
timestamps, and what became of them is looked up to the end of the topics. Of
transactions that are open nothing is counted, of aborted ones nothing at all.

Exit code 0: it balances, or all that was lost was sent again and nothing else is
wrong; 1: one of the above, or Kafka cannot be read, or --kafka-group has committed
nothing though requests were answered.`,
		Example: `closeorder audit
closeorder audit --since 24h --json | jq '.findings[]'
closeorder audit --since 24h --processing-guarantee exactly_once
closeorder audit --max-age 5m
closeorder audit --since 24h --republish --yes --rate 20
closeorder audit --since 2026-01-31T08:00:00Z --until 2026-01-31T09:00:00Z`,
	}
	flags := cmd.Flags()
	var during timeRange
	during.add(flags, "requests")
	limit := flags.Int("limit", 100, "the most findings of each kind, and piles of what waits, that are listed; 0: all. All are counted")
	maxAge := flags.Duration("max-age", 0, "exit with 1 if the oldest request without an answer is older, or nobody serves")
	var mend mendOptions
	mend.add(flags, a)
	asJSON := flags.Bool("json", false, "print one JSON document")
	settings := a.settings(cmd, []config.Section{config.Connection, config.TopicNames})
	settings.alsoOf(config.Work, "kafka.group", "processing_guarantee")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var wrong misuse
		since, until, err := during.parse(time.Now())
		wrong.add(err)
		wrong.must(*limit >= 0, "--limit must not be negative")
		wrong.must(*maxAge > 0 || !cmd.Flags().Changed("max-age"), "--max-age must be above zero")
		wrong.add(mend.check(cmd.Flags()))
		c, err := settings.connect(&wrong)
		if err != nil {
			return err
		}
		defer c.close()
		look := look{app: a, cluster: c, since: since, until: until, limit: *limit, maxAge: *maxAge, mend: mend}
		if err := look.audit(cmd.Context()); err != nil {
			return err
		}
		failure := look.republish(cmd.Context())
		if *asJSON {
			enc := a.jsonLines()
			enc.SetIndent("", "  ")
			err = enc.Encode(look.document())
		} else {
			look.print()
		}
		switch {
		case failure != nil:
			return failure
		case err == nil && !look.good():
			return errBadNews
		}
		return err
	}
	return cmd
}

// look is one audit, and what was asked for beside it.
type look struct {
	app          *app
	cluster      *cluster
	since, until time.Time
	limit        int
	maxAge       time.Duration // 0 for none
	mend         mendOptions

	report *audit.Report
	lost   []audit.Lost
	late   []string // why --max-age is not kept
	mended *mending // nil without --republish
}

// good reports whether the exit code is 0.
func (l *look) good() bool {
	balanced := l.report.Balanced
	if !balanced && l.mended != nil && l.mended.whole() {
		// What was sent is no hole any more.
		rest := *l.report
		rest.Holes, rest.RepublishedOpen = 0, 0
		balanced = rest.Balances()
	}
	return balanced && len(l.late) == 0
}

func (l *look) audit(ctx context.Context) error {
	a, c := l.app, l.cluster
	asking, cancel := reach(ctx)
	defer cancel()
	snapshot, err := audit.Take(asking, audit.Scope{Reader: c.reader(), Group: c.group, Topics: c.topics, Since: l.since, Until: l.until})
	if err != nil {
		return err
	}
	bar := a.progress("auditing", snapshot.Records())
	defer bar.finish()
	options := audit.Options{Limit: l.limit, ExactlyOnce: c.exactlyOnce, OnRead: bar.add}
	if l.mend.republish {
		options.OnLost = func(lost audit.Lost) { l.lost = append(l.lost, lost) }
	}
	l.report, err = snapshot.Audit(ctx, options)
	bar.finish()
	if err != nil {
		return err
	}
	asking, cancel = reach(ctx)
	defer cancel()
	if err := snapshot.CheckGroup(asking, l.report); err != nil {
		return err
	}
	snapshot.NoteGroup(asking, l.report)
	if l.maxAge == 0 {
		return nil
	}
	if oldest := l.report.Oldest(); !oldest.IsZero() && l.report.AsOf.Sub(oldest) > l.maxAge {
		l.late = append(l.late, fmt.Sprintf("the oldest request without an answer was asked for %s ago, --max-age is %s", age(l.report.AsOf.Sub(oldest)), config.ShortDuration(l.maxAge)))
	}
	nobody, err := snapshot.NobodyServes(asking)
	switch {
	case ctx.Err() != nil:
		return err
	case err != nil:
		l.late = append(l.late, "whether anybody serves cannot be told: "+err.Error())
	case nobody != "":
		l.late = append(l.late, nobody)
	}
	return nil
}
