package kafka

import (
	"context"
	"errors"

	kafkago "github.com/segmentio/kafka-go"
)

// Topic is a topic as it is, or as it is to be made.
type Topic struct {
	Name       string
	Partitions int
	// Replication is how many replicas a partition has, the most of them.
	Replication int
	// Settings are what it is to be made with. They are not looked up.
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
	for _, t := range res.Topics {
		if t.Error != nil {
			continue
		}
		topic := Topic{Name: t.Name, Partitions: len(t.Partitions)}
		for _, p := range t.Partitions {
			topic.Replication = max(topic.Replication, len(p.Replicas))
		}
		there[t.Name] = topic
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
	return res.Errors, nil
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
