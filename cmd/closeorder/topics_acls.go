package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/topics"
	"github.com/spf13/cobra"
)

// printedACL is an ACL as topics acls --json has it.
type printedACL struct {
	topics.ACL
	Principal string `json:"principal"`
	Command   string `json:"command"`
}

func (a *app) topicsACLsCommand() *cobra.Command {
	roles := make([]string, 0, len(topics.Roles()))
	for _, role := range topics.Roles() {
		roles = append(roles, string(role))
	}
	cmd := &cobra.Command{
		Use: "acls", Short: "Prints the commands that give a worker, or somebody else, its ACLs", Args: noArgs,
		Long: `Prints calls of kafka-acls.sh that allow a user of the brokers what it needs and
no more, by the names of topics and group. It asks nobody: who adds ACLs runs them.

--for says what the user does:
  worker   runs the worker; with processing_guarantee exactly_once also with the
           transactional ids of the group, which begin with it and a hyphen
  audit    reads: audit, trace, status, outcomes, deadletters list and show
  replay   reads, and sends requests: deadletters replay, audit --republish, request
  topics   makes the topics: topics create
  console  is a web console that shows topics, records, settings and groups:
           closeorder console, or another one; with Write on the requests, which can
           be left out, dead letters are replayed from it`,
		Example: `closeorder topics acls --config closeorder.yaml --principal User:closeorder
closeorder topics acls --for audit --principal User:on-call --json`,
	}
	flags := cmd.Flags()
	principal := flags.String("principal", "", "`USER` that the workers, or whoever, are for the brokers, such as User:closeorder or User:CN=closeorder")
	role := flags.String("for", string(topics.Worker), "what the user does: "+strings.Join(roles, ", "))
	prefixed := flags.Bool("prefixed", false, "allow the retry topics by what their names begin with, so that another delay needs no ACL")
	asJSON := flags.Bool("json", false, "print JSON")
	settings := a.settings(cmd, []config.Section{config.Connection, config.TopicNames})
	settings.alsoOf(config.Work, "kafka.group", "processing_guarantee")
	cmd.RunE = func(*cobra.Command, []string) error {
		var wrong misuse
		wrong.must(*principal != "", "--principal is needed: who the workers are only the brokers know")
		wrong.must(slices.Contains(roles, *role), "--for %q is none of %s", *role, strings.Join(roles, ", "))
		cfg, err := settings.load()
		wrong.add(err)
		if err := wrong.err(); err != nil {
			return err
		}
		allowed := topics.Allowed{Names: cfg.Topics, Group: cfg.Kafka.Group, ExactlyOnce: cfg.ProcessingGuarantee == config.ExactlyOnce, Prefixed: *prefixed}
		var all []printedACL
		for _, acl := range allowed.ACLs(topics.Role(*role)) {
			all = append(all, printedACL{acl, *principal, acl.Command(cfg.Kafka.Brokers[0], *principal)})
		}
		if *asJSON {
			return json.NewEncoder(a.stdout).Encode(all)
		}
		for _, acl := range all {
			fmt.Fprintf(a.stdout, "# %s\n%s\n", acl.Why, acl.Command)
		}
		return nil
	}
	return cmd
}
