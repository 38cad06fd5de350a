package main

import (
	"fmt"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/topics"
	"github.com/spf13/cobra"
)

func (a *app) topicsACLsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "acls", Short: "Prints the commands that give a worker its ACLs", Args: noArgs,
		Long: `Prints calls of kafka-acls.sh that allow a worker what it needs, by the names of
topics and group, and with processing_guarantee exactly_once by the transactional
ids of the group's workers: those begin with the group and a hyphen. It asks
nobody: who adds ACLs runs them.`,
		Example: "closeorder topics acls --config closeorder.yaml --principal User:closeorder",
	}
	principal := cmd.Flags().String("principal", "", "`USER` that the workers are for the brokers, such as User:closeorder or User:CN=closeorder")
	settings := a.settings(cmd, []config.Section{config.Connection, config.TopicNames})
	settings.alsoOf(config.Work, "kafka.group", "processing_guarantee")
	cmd.RunE = func(*cobra.Command, []string) error {
		var wrong misuse
		wrong.must(*principal != "", "--principal is needed: who the workers are only the brokers know")
		cfg, err := settings.load()
		wrong.add(err)
		if err := wrong.err(); err != nil {
			return err
		}
		for _, acl := range topics.ACLs(cfg.Topics, cfg.Kafka.Group, cfg.ProcessingGuarantee == config.ExactlyOnce) {
			fmt.Fprintf(a.stdout, "# %s\n%s\n", acl.Why, acl.Command(cfg.Kafka.Brokers[0], *principal))
		}
		return nil
	}
	return cmd
}
