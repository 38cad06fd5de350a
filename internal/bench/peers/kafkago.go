package peers

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/segmentio/kafka-go"
)

// KafkaGo is what most services do: one request at a time, a reader, a call, a
// writer, a commit.
func KafkaGo(ctx context.Context, cfg Config) error {
	post, err := cfg.poster()
	if err != nil {
		return err
	}
	c := &closer{cfg.Key, post}
	w := &kafka.Writer{
		Addr: kafka.TCP(cfg.Brokers...), Topic: cfg.Outcomes, Balancer: &kafka.Hash{},
		RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond,
	}
	defer w.Close()
	r := kafka.NewReader(kafka.ReaderConfig{
		Brokers: cfg.Brokers, GroupID: cfg.Group, Topic: cfg.Requests, StartOffset: kafka.FirstOffset,
		MinBytes: 1, MaxBytes: 10e6, MaxWait: 500 * time.Millisecond,
		SessionTimeout: 10 * time.Second, HeartbeatInterval: time.Second,
	})
	defer r.Close()
	for {
		m, err := r.FetchMessage(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("kafka-go: fetch: %w", err)
		}
		out, err := c.handle(ctx, m.Value)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			log.Printf("kafka-go: left out: partition %d, offset %d: %v", m.Partition, m.Offset, err)
		default:
			if err := w.WriteMessages(ctx, kafka.Message{Key: m.Key, Value: out}); err != nil {
				return fmt.Errorf("kafka-go: publish: %w", err)
			}
		}
		if err := r.CommitMessages(ctx, m); err != nil {
			return fmt.Errorf("kafka-go: commit: %w", err)
		}
	}
}
