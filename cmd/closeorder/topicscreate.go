package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/segmentio/kafka-go"
	"github.com/spf13/cobra"
)

// topicPlan is one topic, as it should be and as it turned out.
type topicPlan struct {
	Topic       string            `json:"topic"`
	State       string            `json:"state"`
	Partitions  int               `json:"partitions"`
	Replication int               `json:"replication"`
	Settings    map[string]string `json:"settings,omitempty"`
	Note        string            `json:"note,omitempty"`
}

// States of a topicPlan.
const (
	topicCreated = "created"
	topicExists  = "exists"
	topicMissing = "would be created"
	topicFailed  = "failed"
	topicWrong   = "wrong" // exists, and the worker's promises do not hold with it
)

type topicOptions struct {
	partitions, dead int
	replication      int
	minInSync        int
	keep, keepDead   time.Duration
	dryRun           bool
}

func (a *app) topicsCreateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "create", Short: "Creates the topics that are missing", Args: noArgs,
		Long: `Creates the topics that are missing and leaves alone those that exist, whatever
they look like. Dead letters and retries take larger records than requests do:
they carry the original and why it is there. Retries get as many partitions as
requests have, so that all records of one order are with one worker; where a
retry topic exists and has another number, that is said, and the exit code is 1.`,
		Example: "closeorder topics create --kafka-brokers kafka-1:9092 --dry-run",
	}
	var o topicOptions
	flags := cmd.Flags()
	flags.IntVar(&o.partitions, "partitions", 12, "partitions of requests and outcomes; retry topics have those of requests")
	flags.IntVar(&o.dead, "dead-letter-partitions", 3, "partitions of dead letters")
	flags.IntVar(&o.replication, "replication", 0, "replicas of each partition (0: 3, or as many as there are brokers)")
	flags.IntVar(&o.minInSync, "min-insync-replicas", 0, "replicas that must have a record before it is acknowledged (0: all but one)")
	flags.DurationVar(&o.keep, "retention", 14*24*time.Hour, "how long requests, outcomes and retries are kept")
	flags.DurationVar(&o.keepDead, "dead-letter-retention", 90*24*time.Hour, "how long dead letters are kept")
	flags.BoolVar(&o.dryRun, "dry-run", false, "say what would be done and ask the brokers whether they would do it")
	asJSON := flags.Bool("json", false, "print JSON")
	settings := a.settings(cmd, []config.Section{config.Connection, config.TopicNames})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var wrong misuse
		o.check(&wrong)
		cfg, err := settings.load()
		wrong.add(err)
		if err := wrong.err(); err != nil {
			return err
		}
		c, err := a.cluster(cfg)
		if err != nil {
			return err
		}
		defer c.close()
		plans, err := c.createTopics(cmd.Context(), cfg.Topics, o)
		if err != nil {
			return err
		}
		if *asJSON {
			err = json.NewEncoder(a.stdout).Encode(plans)
		} else {
			a.printPlans(plans)
		}
		if slices.ContainsFunc(plans, func(p topicPlan) bool { return p.State == topicFailed || p.State == topicWrong }) {
			return errBadNews
		}
		return err
	}
	return cmd
}

func (o topicOptions) check(wrong *misuse) {
	if o.partitions < 1 {
		wrong.addf("--partitions must be at least 1")
	}
	if o.dead < 1 {
		wrong.addf("--dead-letter-partitions must be at least 1")
	}
	if o.replication < 0 {
		wrong.addf("--replication must not be negative")
	}
	if o.minInSync < 0 || o.replication > 0 && o.minInSync > o.replication {
		wrong.addf("--min-insync-replicas must be at most --replication: nothing could be written otherwise")
	}
	if o.keep < time.Hour || o.keepDead < time.Hour {
		wrong.addf("--retention and --dead-letter-retention must be at least 1h")
	}
}

// plan says what the topics should be on a cluster of so many brokers.
func (o topicOptions) plan(t config.Topics, brokers int) ([]topicPlan, error) {
	replication := o.replication
	if replication == 0 {
		replication = max(1, min(3, brokers))
	}
	minInSync := o.minInSync
	if minInSync == 0 {
		minInSync = max(1, replication-1)
	}
	if minInSync > replication {
		return nil, usagef("--min-insync-replicas is %d, and topics would get %s on %s: nothing could be written; lower it, or raise --replication",
			minInSync, count(replication, "replica"), count(brokers, "broker"))
	}
	var plans []topicPlan
	for _, name := range t.All() {
		p := topicPlan{Topic: name, Partitions: o.partitions, Replication: replication, Settings: map[string]string{
			"cleanup.policy":      "delete",
			"min.insync.replicas": strconv.Itoa(minInSync),
			"retention.ms":        strconv.FormatInt(o.keep.Milliseconds(), 10),
		}}
		switch name {
		case t.Requests, t.Outcomes:
		default:
			p.Settings["max.message.bytes"] = strconv.Itoa(2 << 20)
		}
		if name == t.DeadLetters {
			p.Partitions = o.dead
			p.Settings["retention.ms"] = strconv.FormatInt(o.keepDead.Milliseconds(), 10)
		}
		plans = append(plans, p)
	}
	return plans, nil
}

func (c *cluster) createTopics(ctx context.Context, t config.Topics, o topicOptions) ([]topicPlan, error) {
	there, err := c.metadata(ctx, t.All())
	if err != nil {
		return nil, err
	}
	plans, err := o.plan(t, len(there.Brokers))
	if err != nil {
		return nil, err
	}
	for i := range plans {
		for _, topic := range there.Topics {
			if topic.Name == plans[i].Topic && topic.Error == nil {
				plans[i].found(topic)
			}
		}
	}
	likeRequests(plans, t)
	var missing []kafka.TopicConfig
	for i := range plans {
		if plans[i].State == "" {
			missing = append(missing, plans[i].config())
		}
	}
	if len(missing) == 0 {
		return plans, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, reachTimeout, errUnreached)
	defer cancel()
	res, err := c.client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: missing, ValidateOnly: o.dryRun})
	if err != nil {
		return nil, err
	}
	for i := range plans {
		if plans[i].State == "" {
			plans[i].answered(res.Errors[plans[i].Topic], o.dryRun)
		}
	}
	if o.dryRun {
		return plans, nil
	}
	return plans, c.known(ctx, plans)
}

// likeRequests gives retry topics the partitions of the requests topic as it
// is, or as it will be. A worker gets the same partition numbers of all of
// them: with another number, requests of one order can be with two workers,
// and side by side.
func likeRequests(plans []topicPlan, t config.Topics) {
	want := plans[slices.IndexFunc(plans, func(p topicPlan) bool { return p.Topic == t.Requests })].Partitions
	retries := t.Retries()
	for i := range plans {
		p := &plans[i]
		switch {
		case !slices.Contains(retries, p.Topic):
		case p.State == "":
			p.Partitions = want
		case p.Partitions < want:
			p.State, p.Note = topicWrong, fmt.Sprintf("%s has %d: add partitions to this one (kafka-topics.sh --alter --topic %s --partitions %d)", t.Requests, want, p.Topic, want)
		case p.Partitions > want:
			p.State, p.Note = topicWrong, fmt.Sprintf("%s has %d: let this one run empty, stop the workers, delete it and create it again", t.Requests, want)
		default:
			p.Note = "" // it is as it must be, whatever a new one would get
		}
	}
}

// known waits until the brokers know the topics that were created, so that
// the next command finds them.
func (c *cluster) known(ctx context.Context, plans []topicPlan) error {
	created := topicsIn(plans, topicCreated)
	if len(created) == 0 {
		return nil // to ask about none is to ask about all
	}
	for {
		there, err := c.metadata(ctx, created)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(there.Topics, func(t kafka.Topic) bool { return t.Error != nil || len(t.Partitions) == 0 }) {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// topicsIn names the topics in a state.
func topicsIn(plans []topicPlan, state string) []string {
	names := []string{}
	for _, p := range plans {
		if p.State == state {
			names = append(names, p.Topic)
		}
	}
	return names
}

// metadata asks until a broker answers.
func (c *cluster) metadata(ctx context.Context, topics []string) (*kafka.MetadataResponse, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, reachTimeout, errUnreached)
	defer cancel()
	for {
		res, err := c.client.Metadata(ctx, &kafka.MetadataRequest{Topics: topics})
		if err == nil {
			return res, nil
		}
		untilEnd(ctx, c.notify)(topics[0], -1, err)
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w (last failure: %w)", context.Cause(ctx), err)
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func (p *topicPlan) found(t kafka.Topic) {
	p.State = topicExists
	if want := p.Partitions; len(t.Partitions) != want {
		p.Note = fmt.Sprintf("left as it is; a new one would get %d partitions", want)
	}
	p.Partitions, p.Replication, p.Settings = len(t.Partitions), 0, nil
	for _, one := range t.Partitions {
		p.Replication = max(p.Replication, len(one.Replicas))
	}
}

func (p *topicPlan) answered(err error, dryRun bool) {
	switch {
	case errors.Is(err, kafka.TopicAlreadyExists):
		p.State, p.Note = topicExists, "made by somebody else just now"
	case errors.Is(err, kafka.InvalidReplicationFactor):
		p.State, p.Note = topicFailed, fmt.Sprintf("the brokers refuse %s: each needs a broker of its own that is up; lower --replication or start brokers", count(p.Replication, "replica"))
	case err != nil:
		p.State, p.Note = topicFailed, err.Error()
	case dryRun:
		p.State = topicMissing
	default:
		p.State = topicCreated
	}
}

func (p *topicPlan) config() kafka.TopicConfig {
	c := kafka.TopicConfig{Topic: p.Topic, NumPartitions: p.Partitions, ReplicationFactor: p.Replication}
	for name, value := range p.Settings {
		c.ConfigEntries = append(c.ConfigEntries, kafka.ConfigEntry{ConfigName: name, ConfigValue: value})
	}
	return c
}

func (a *app) printPlans(plans []topicPlan) {
	rows := [][]string{{"TOPIC", "STATE", "PARTITIONS", "REPLICATION", "NOTE"}}
	for _, p := range plans {
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
		rows = append(rows, []string{p.Topic, p.State, strconv.Itoa(p.Partitions), strconv.Itoa(p.Replication), note})
	}
	whole(a.stdout, rows)
}
