package main

import (
	"context"
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
With --since and --until the requests of that time are audited, by their
timestamps, and what became of them is looked up to the end of the topics. Of
transactions that are open nothing is counted, of aborted ones nothing at all.

Exit code 0: it balances; 1: one of the above, or Kafka cannot be read, or
--kafka-group has committed nothing though requests were answered.`,
		Example: `closeorder audit
closeorder audit --since 24h --json | jq '.findings[]'
closeorder audit --since 24h --processing-guarantee exactly_once
closeorder audit --since 2026-01-31T08:00:00Z --until 2026-01-31T09:00:00Z`,
	}
	flags := cmd.Flags()
	var during timeRange
	during.add(flags, "requests")
	limit := flags.Int("limit", 100, "the most findings of each kind that are listed; 0: all. All are counted")
	asJSON := flags.Bool("json", false, "print one JSON document")
	settings := a.settings(cmd, []config.Section{config.Connection, config.TopicNames})
	settings.alsoOf(config.Work, "kafka.group", "processing_guarantee")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var wrong misuse
		since, until, err := during.parse(time.Now())
		wrong.add(err)
		wrong.must(*limit >= 0, "--limit must not be negative")
		c, err := settings.connect(&wrong)
		if err != nil {
			return err
		}
		defer c.close()
		report, err := a.audit(cmd.Context(), c, since, until, *limit)
		if err != nil {
			return err
		}
		if *asJSON {
			enc := a.jsonLines()
			enc.SetIndent("", "  ")
			err = enc.Encode(report)
		} else {
			a.printAudit(report)
		}
		if !report.Balanced {
			return errBadNews
		}
		return err
	}
	return cmd
}

func (a *app) audit(ctx context.Context, c *cluster, since, until time.Time, limit int) (*audit.Report, error) {
	asking, cancel := reach(ctx)
	defer cancel()
	snapshot, err := audit.Take(asking, audit.Scope{Reader: c.reader(), Group: c.group, Topics: c.topics, Since: since, Until: until})
	if err != nil {
		return nil, err
	}
	bar := a.progress("auditing", snapshot.Records())
	defer bar.finish()
	report, err := snapshot.Audit(ctx, audit.Options{Limit: limit, ExactlyOnce: c.exactlyOnce, OnRead: bar.add})
	if err != nil {
		return nil, err
	}
	asking, cancel = reach(ctx)
	defer cancel()
	if err := snapshot.CheckGroup(asking, report); err != nil {
		return report, err
	}
	snapshot.NoteGroup(asking, report)
	return report, nil
}
