package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/topics"
	"github.com/spf13/cobra"
)

func (a *app) topicsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "topics", Short: "Creates the topics", GroupID: "work", Args: noCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.topicsCreateCommand(), a.topicsACLsCommand())
	return cmd
}

// What becomes of a topic that is missing.
const (
	topicCreated  topics.State = "created"
	topicToCreate topics.State = "would be created"
	topicFailed   topics.State = "failed"
)

func (a *app) topicsCreateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "create", Short: "Creates the topics that are missing", Args: noArgs,
		Long: `Creates the topics that are missing and leaves alone those that exist, whatever
they look like. Dead letters and retries take larger records than requests do:
they carry the original and why it is there. Retries get as many partitions as
requests have, so that all records of one order are with one worker; where a
retry topic exists and has another number, that is said, and the exit code is 1.
So it is of settings that lose requests: a compacted topic, a short retention.

With processing_guarantee exactly_once it also says what the brokers lack for
transactions: their topic __transaction_state, and how long one may last. The
ACLs of the workers are printed by closeorder topics acls.`,
		Example: "closeorder topics create --kafka-brokers kafka-1:9092 --dry-run",
	}
	var shape topics.Shape
	flags := cmd.Flags()
	flags.IntVar(&shape.Partitions, "partitions", 12, "partitions of requests and outcomes; retry topics have those of requests")
	flags.IntVar(&shape.DeadLetterPartitions, "dead-letter-partitions", 3, "partitions of dead letters")
	flags.IntVar(&shape.Replication, "replication", 0, "replicas of each partition (0: 3, or as many as there are brokers)")
	flags.IntVar(&shape.MinInSync, "min-insync-replicas", 0, "replicas that must have a record before it is acknowledged (0: all but one)")
	flags.DurationVar(&shape.Retention, "retention", 14*24*time.Hour, "how long requests, outcomes and retries are kept")
	flags.DurationVar(&shape.DeadLetterRetention, "dead-letter-retention", 90*24*time.Hour, "how long dead letters are kept")
	dryRun := flags.Bool("dry-run", false, "say what would be done and ask the brokers whether they would do it")
	asJSON := flags.Bool("json", false, "print JSON")
	settings := a.settings(cmd, []config.Section{config.Connection, config.TopicNames})
	settings.alsoOf(config.Work, "processing_guarantee", "kafka.transaction_timeout")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var wrong misuse
		wrong.must(shape.Partitions >= 1, "--partitions must be at least 1")
		wrong.must(shape.DeadLetterPartitions >= 1, "--dead-letter-partitions must be at least 1")
		wrong.must(shape.Replication >= 0, "--replication must not be negative")
		wrong.must(shape.MinInSync >= 0 && (shape.Replication <= 0 || shape.MinInSync <= shape.Replication),
			"--min-insync-replicas must be at most --replication: nothing could be written otherwise")
		wrong.must(min(shape.Retention, shape.DeadLetterRetention) >= time.Hour, "--retention and --dead-letter-retention must be at least 1h")
		c, err := settings.connect(&wrong)
		if err != nil {
			return err
		}
		defer c.close()
		plan, err := c.createTopics(cmd.Context(), a.stderr, shape, *dryRun)
		if err != nil {
			return err
		}
		if c.exactlyOnce {
			log, err := c.stateLog(cmd.Context(), func(err error) {
				fmt.Fprintf(a.stderr, "closeorder: what transactions need was not looked at: %s\n", plain(err))
			})
			if err != nil {
				return err
			}
			plan = append(plan, log)
		}
		if *asJSON {
			err = json.NewEncoder(a.stdout).Encode(plan)
		} else {
			a.printTopics(plan)
		}
		if slices.ContainsFunc(plan, func(t topics.Topic) bool { return t.State == topicFailed || t.State == topics.Wrong }) {
			return errBadNews
		}
		return err
	}
	return cmd
}

// createTopics makes what is missing of the plan and waits until the brokers
// know it, so that the next command finds it.
func (c *cluster) createTopics(ctx context.Context, stderr io.Writer, shape topics.Shape, dryRun bool) ([]topics.Topic, error) {
	there, brokers, err := c.existing(ctx, c.topics.All())
	if err != nil {
		return nil, err
	}
	if shape = shape.On(brokers); shape.MinInSync > shape.Replication {
		return nil, usagef("--min-insync-replicas is %d, and topics would get %s on %s: nothing could be written; lower it, or raise --replication",
			shape.MinInSync, count(shape.Replication, "replica"), count(brokers, "broker"))
	}
	if err := c.lookAt(ctx, there, topics.Looked()); err != nil {
		fmt.Fprintf(stderr, "closeorder: the settings of the topics that exist were not looked at: %s\n", plain(err))
	}
	if format, err := c.oldFormat(ctx); err != nil {
		if _, hidden := errors.AsType[*kafka.ExplainedError](err); hidden {
			err = errors.New("no ACL DescribeConfigs on the cluster; closeorder doctor looks at the topics themselves")
		}
		fmt.Fprintf(stderr, "closeorder: whether the brokers keep records with headers was not looked at: %s\n", plain(err))
	} else if format != "" {
		shape.Format = kafka.FormatWithHeaders
		fmt.Fprintf(stderr, "closeorder: %s of the brokers is %s, which knows no headers: topics that are created get %s=%s\n", kafka.FormatDefault, format, kafka.FormatSetting, shape.Format)
	}
	plan := shape.Plan(c.topics, there)
	var missing []kafka.Topic
	for _, t := range plan {
		if t.State == topics.Missing {
			missing = append(missing, kafka.Topic{Name: t.Name, Partitions: t.Partitions, Replication: t.Replication, Settings: t.Settings})
		}
	}
	answers := map[string]error{}
	if len(missing) > 0 {
		reach, cancel := reach(ctx)
		defer cancel()
		if answers, err = c.client.CreateTopics(reach, dryRun, missing...); err != nil {
			return nil, err
		}
	}
	var created []string
	for i := range plan {
		t := &plan[i]
		if t.State == topics.Missing {
			t.State, t.Note = cameOf(*t, answers[t.Name], dryRun)
		}
		if t.State == topicCreated {
			created = append(created, t.Name)
		}
	}
	for len(created) > 0 { // to ask about none is to ask about all
		there, _, err := c.existing(ctx, created)
		if err != nil {
			return nil, err
		}
		created = slices.DeleteFunc(created, func(name string) bool { return there[name].Partitions > 0 })
		if len(created) > 0 && kafka.Sleep(ctx, 100*time.Millisecond) != nil {
			return nil, context.Cause(ctx)
		}
	}
	return plan, nil
}

// lookAt fills in settings of topics that exist.
func (c *cluster) lookAt(ctx context.Context, there map[string]kafka.Topic, looked []string) error {
	if len(there) == 0 {
		return nil
	}
	ctx, cancel := reach(ctx)
	defer cancel()
	settings, err := c.settings(ctx, slices.Sorted(maps.Keys(there)), looked)
	for name, topic := range there {
		topic.Settings = settings[name]
		there[name] = topic
	}
	return err
}

// oldFormat is the format that the brokers would give new topics where headers have
// no place in it, empty where it does not matter.
func (c *cluster) oldFormat(ctx context.Context) (format string, err error) {
	ctx, cancel := reach(ctx)
	defer cancel()
	err = c.client.Persist(ctx, c.topics.Requests, -1, func(ctx context.Context) (err error) {
		format, err = c.client.OldFormat(ctx)
		return err
	})
	return format, err
}

// settings asks until a broker answers.
func (c *cluster) settings(ctx context.Context, names, looked []string) (settings map[string]map[string]string, err error) {
	err = c.client.Persist(ctx, names[0], -1, func(ctx context.Context) (err error) {
		settings, err = c.client.TopicSettings(ctx, names, looked)
		return err
	})
	return settings, err
}

// existing asks until a broker answers.
func (c *cluster) existing(ctx context.Context, names []string) (there map[string]kafka.Topic, brokers int, err error) {
	ctx, cancel := reach(ctx)
	defer cancel()
	err = c.client.Persist(ctx, names[0], -1, func(ctx context.Context) (err error) {
		there, brokers, err = c.client.Topics(ctx, names...)
		return err
	})
	return there, brokers, err
}

// stateLog looks at what transactions need. What may not be seen is told to hidden
// and not judged; the error is of brokers that do not answer.
func (c *cluster) stateLog(ctx context.Context, hidden func(error)) (topics.Topic, error) {
	ctx, cancel := reach(ctx)
	defer cancel()
	var is topics.Transactions
	tell := func(err error) error {
		if _, explained := errors.AsType[*kafka.ExplainedError](err); explained {
			hidden(err)
			return nil
		}
		return err
	}
	there, brokers, err := c.existing(ctx, []string{topics.StateLog})
	if err := tell(err); err != nil {
		return topics.Topic{}, err
	}
	if log, exists := there[topics.StateLog]; exists {
		if err := tell(c.lookAt(ctx, there, topics.LookedAtStateLog())); err != nil {
			return topics.Topic{}, err
		}
		log.Settings = there[topics.StateLog].Settings
		is.Log = &log
	}
	is.Brokers = brokers
	err = c.client.Persist(ctx, topics.StateLog, -1, func(ctx context.Context) (err error) {
		is.Settings, err = c.client.BrokerSettings(ctx, topics.LookedAtBrokers())
		return err
	})
	return is.Plan(c.transactionTimeout), tell(err)
}

func cameOf(t topics.Topic, err error, dryRun bool) (state topics.State, note string) {
	switch {
	case errors.Is(err, kafka.TopicExists):
		return topics.Exists, "made by somebody else just now"
	case errors.Is(err, kafka.TooFewBrokers):
		return topicFailed, fmt.Sprintf("the brokers refuse %s: each needs a broker of its own that is up; lower --replication or start brokers", count(t.Replication, "replica"))
	case err != nil:
		return topicFailed, err.Error()
	case dryRun:
		return topicToCreate, ""
	}
	return topicCreated, ""
}

func (a *app) printTopics(plan []topics.Topic) {
	rows := [][]string{{"TOPIC", "STATE", "PARTITIONS", "REPLICATION", "NOTE"}}
	for _, p := range plan {
		note := p.Note
		if note == "" && p.Settings != nil {
			var parts []string
			for _, name := range []string{"min.insync.replicas", "retention.ms", "max.message.bytes"} {
				if v, ok := p.Settings[name]; ok {
					parts = append(parts, name+"="+v)
				}
			}
			note = strings.Join(parts, " ")
		}
		rows = append(rows, []string{p.Name, string(p.State), known(p.Partitions), known(p.Replication), note})
	}
	whole(a.stdout, rows)
}

// known is a number, or a dash where nobody has told it.
func known(n int) string {
	if n == 0 {
		return "-"
	}
	return strconv.Itoa(n)
}
