package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/moments"
	"github.com/spf13/cobra"
)

func (a *app) outcomesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "outcomes", Short: "Follows the outcome topic", GroupID: "look", Args: noArgs,
		Long: `Prints outcomes as they come, until it is stopped: as a table, or with --json
as one JSON document per line. A record that is no outcome is reported on
standard error and passed.

What the gateway said in its own words stands in the note; below an order that is
closed and not safe to reissue stands what to do next.

Exit code 0, also where no outcome is chosen: then it says on standard error how
many were looked at, and of which time. 1: Kafka cannot be read.`,
		Example: `closeorder outcomes --from 1h
closeorder outcomes --from 24h --no-follow --mch-id 1900000111 --outcome failed
closeorder outcomes --from 7d --no-follow --not-safe
closeorder outcomes --from beginning --no-follow --code SYSTEMERROR,RETRIES_EXHAUSTED --json`,
	}
	from := cmd.Flags().String("from", "end", "`WHERE` to begin: end, beginning, a time (RFC 3339, or local as tables show it), or so long ago (90s, 1h, 7d)")
	noFollow := cmd.Flags().Bool("no-follow", false, "stop at what is there now")
	var filter outcomeFilter
	filter.add(cmd.Flags())
	asJSON := cmd.Flags().Bool("json", false, "print JSON lines")
	settings := a.settings(cmd, []config.Section{config.Connection, config.TopicNames})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var wrong misuse
		start, err := parseWhere(*from, time.Now())
		wrong.add(err)
		wrong.add(filter.check())
		c, err := settings.connect(&wrong)
		if err != nil {
			return err
		}
		defer c.close()
		ctx, topic, reader := cmd.Context(), c.topics.Outcomes, c.reader()
		reader.OnGap = func(g kafka.Gap) {
			fmt.Fprintf(a.stderr, "closeorder: %s, partition %d: offsets %d to %d are gone\n", g.Topic, g.Partition, g.From, g.To-1)
		}
		at, err := start.offsets(ctx, reader, topic)
		if err != nil {
			return err
		}
		printer := a.outcomePrinter(*asJSON, moments.Zoned)
		printer.says = true
		printed := 0
		each := func(r kafka.Record) error {
			o, ok := a.outcome(r)
			if !ok || !filter.matches(o) {
				return nil
			}
			printed++
			return printer.print(o)
		}
		// What is there already comes in the order of time, what follows as
		// it comes.
		end, err := where{end: true}.offsets(ctx, reader, topic)
		if err != nil {
			return err
		}
		err = reader.ReadByTime(ctx, topic, at, end, each)
		if err == nil && *noFollow && printed == 0 {
			fmt.Fprintf(a.stderr, "closeorder: %s\n", filter.none(topic, *from))
		}
		if err == nil && !*noFollow {
			// Nobody but a person takes silence for a failure.
			if printed == 0 && isTerminal(a.stdout) {
				fmt.Fprintf(a.stderr, "closeorder: waiting for outcomes in %s; Ctrl-C to stop\n", topic)
			}
			err = reader.Read(ctx, topic, end, nil, each)
		}
		switch {
		case err == nil || ctx.Err() == nil:
			return err
		case *noFollow:
			return errors.New("stopped before all outcomes were printed")
		}
		return nil // following ends when it is stopped
	}
	return cmd
}

// outcome reads one, and says where a record is none.
func (a *app) outcome(r kafka.Record) (events.Outcome, bool) {
	o, err := events.DecodeOutcome(r.Message)
	if err != nil {
		fmt.Fprintf(a.stderr, "closeorder: %s, partition %d, offset %d is no outcome: %s\n", r.Topic, r.Partition, r.Offset, cell(err.Error()))
	}
	return o, err == nil
}
