package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	kafkago "github.com/segmentio/kafka-go"
)

// Topic is a topic as it is, or as it is to be made.
type Topic struct {
	Name       string
	Partitions int
	// Replication is how many replicas a partition has, the most of them.
	Replication int
	// Settings are what it is to be made with. Of one that exists they are what
	// was looked up with [Client.TopicSettings].
	Settings map[string]string
}

// Why a topic was not created.
const (
	TopicExists = kafkago.TopicAlreadyExists
	// TooFewBrokers: there are fewer brokers than replicas.
	TooFewBrokers = kafkago.InvalidReplicationFactor
)

// Topics returns those of the topics that exist, by name, and how many brokers
// the cluster has.
func (c *Client) Topics(ctx context.Context, names ...string) (there map[string]Topic, brokers int, err error) {
	res, err := c.client.Metadata(ctx, &kafkago.MetadataRequest{Topics: names})
	if err != nil {
		return nil, 0, err
	}
	there = make(map[string]Topic, len(names))
	var hidden []string
	for _, t := range res.Topics {
		if errors.Is(t.Error, kafkago.TopicAuthorizationFailed) {
			hidden = append(hidden, t.Name)
		}
		if t.Error != nil {
			continue
		}
		topic := Topic{Name: t.Name, Partitions: len(t.Partitions)}
		for _, p := range t.Partitions {
			topic.Replication = max(topic.Replication, len(p.Replicas))
		}
		there[t.Name] = topic
	}
	if hidden != nil { // whether they are there nobody says
		return nil, 0, unauthorized("Metadata", hidden)
	}
	return there, len(res.Brokers), nil
}

// CreateTopics makes topics and returns what came of each one, by name, nil for
// made. With dryRun the brokers say what would come of it.
func (c *Client) CreateTopics(ctx context.Context, dryRun bool, topics ...Topic) (map[string]error, error) {
	req := &kafkago.CreateTopicsRequest{ValidateOnly: dryRun}
	for _, t := range topics {
		config := kafkago.TopicConfig{Topic: t.Name, NumPartitions: t.Partitions, ReplicationFactor: t.Replication}
		for name, value := range t.Settings {
			config.ConfigEntries = append(config.ConfigEntries, kafkago.ConfigEntry{ConfigName: name, ConfigValue: value})
		}
		req.Topics = append(req.Topics, config)
	}
	res, err := c.client.CreateTopics(ctx, req)
	if err != nil {
		return nil, err
	}
	for name, err := range res.Errors {
		res.Errors[name] = Explain(err, "CreateTopics", "topic "+name)
	}
	return res.Errors, nil
}

// TopicSettings returns settings of topics as they hold, by topic and name, the
// brokers' defaults included. Topics that do not exist are left out, and so is a
// FormatSetting older than headers that the brokers do not go by.
func (c *Client) TopicSettings(ctx context.Context, topics, settings []string) (map[string]map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req := &kafkago.DescribeConfigsRequest{}
	for _, topic := range topics {
		req.Resources = append(req.Resources, kafkago.DescribeConfigRequestResource{ResourceType: kafkago.ResourceTypeTopic, ResourceName: topic, ConfigNames: settings})
	}
	res, err := c.client.DescribeConfigs(ctx, req)
	if err != nil {
		return nil, err
	}
	all := make(map[string]map[string]string, len(topics))
	var hidden []string
	for _, r := range res.Resources {
		switch {
		case errors.Is(r.Error, kafkago.TopicAuthorizationFailed):
			hidden = append(hidden, r.ResourceName)
			continue
		case errors.Is(r.Error, UnknownTopic):
			continue
		case r.Error != nil:
			return nil, fmt.Errorf("settings of topic %s: %w", r.ResourceName, r.Error)
		}
		all[r.ResourceName] = make(map[string]string, len(settings))
		for _, entry := range r.ConfigEntries {
			all[r.ResourceName][entry.ConfigName] = entry.ConfigValue
		}
	}
	if hidden != nil {
		return nil, unauthorized("DescribeConfigs", hidden)
	}
	c.leaveOutFormats(ctx, all)
	return all, nil
}

// BrokerSettings returns settings of one broker that is up as they hold, by name.
// What the broker does not know is left out. It needs DescribeConfigs on the
// cluster.
func (c *Client) BrokerSettings(ctx context.Context, settings []string) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	meta, err := c.client.Metadata(ctx, &kafkago.MetadataRequest{Topics: c.transport.topics})
	if err != nil {
		return nil, err
	}
	if len(meta.Brokers) == 0 {
		return nil, errors.New("the cluster names no broker")
	}
	res, err := c.client.DescribeConfigs(ctx, &kafkago.DescribeConfigsRequest{Resources: []kafkago.DescribeConfigRequestResource{
		{ResourceType: kafkago.ResourceTypeBroker, ResourceName: strconv.Itoa(meta.Brokers[0].ID), ConfigNames: settings},
	}})
	if err != nil {
		return nil, err
	}
	all := make(map[string]string, len(settings))
	for _, r := range res.Resources {
		if r.Error != nil {
			return nil, Explain(r.Error, "DescribeConfigs", "cluster")
		}
		for _, entry := range r.ConfigEntries {
			all[entry.ConfigName] = entry.ConfigValue
		}
	}
	return all, nil
}

// TopicSetting returns a setting of a topic as it holds, the brokers' default
// included.
func (c *Client) TopicSetting(ctx context.Context, topic, name string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	res, err := c.client.DescribeConfigs(ctx, &kafkago.DescribeConfigsRequest{Resources: []kafkago.DescribeConfigRequestResource{
		{ResourceType: kafkago.ResourceTypeTopic, ResourceName: topic, ConfigNames: []string{name}},
	}})
	if err != nil {
		return "", err
	}
	for _, r := range res.Resources {
		if r.Error != nil {
			return "", r.Error
		}
		for _, entry := range r.ConfigEntries {
			if entry.ConfigName == name {
				return entry.ConfigValue, nil
			}
		}
	}
	return "", errors.New("the cluster's answer lacks the setting")
}
