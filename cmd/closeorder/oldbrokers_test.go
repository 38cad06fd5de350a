package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// oldCluster is a cluster of an old release, without SASL, and the settings of a
// worker on it.
func oldCluster(t *testing.T, opts ...kfake.Opt) (*kfake.Cluster, []string) {
	t.Helper()
	c, err := kfake.NewCluster(append(opts, kfake.NumBrokers(1))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, slices.DeleteFunc(asWorker(c.ListenAddrs()[0]), func(s string) bool { return strings.HasPrefix(s, "CLOSEORDER_KAFKA_SASL_") })
}

// TestRunSaysWhatTheBrokersLack: a line each at the start, and nothing of brokers
// that lack nothing.
func TestRunSaysWhatTheBrokersLack(t *testing.T) {
	for _, tt := range []struct {
		sentence string
		release  *kversion.Versions
		lacks    []string
	}{
		{"Kafka 0.11", kversion.V0_11_0(), []string{"fetch-sessions", "lasting-positions", "known-joins", "told-rights", "blamed-records", "exactly-once"}},
		{"Kafka 2.2", kversion.V2_2_0(), []string{"told-rights", "blamed-records", "exactly-once"}},
		{"Kafka 2.5", kversion.V2_5_0(), nil},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			_, env := oldCluster(t, kfake.MaxVersions(tt.release))
			callOK(t, env, "topics", "create", "--partitions", "2")
			worker := launch(t, env, "", "run")
			for _, feature := range tt.lacks {
				worker.stderr.find(t, `level=info msg="the brokers lack `+feature+` \(Kafka \d\.\d\): [^"]+" lacks=`+feature+` remedy="[^"]*upgrade the brokers to Kafka \d\.\d or later"`)
			}
			worker.stderr.find(t, "partitions assigned")
			worker.end(t)
			if n := strings.Count(worker.stderr.String(), "the brokers lack "); n != len(tt.lacks) {
				t.Errorf("%d lines, want %d:\n%s", n, len(tt.lacks), worker.stderr)
			}
		})
	}
}

// TestTopicsAreMadeForRecordsWithHeaders where the brokers' own format is older than
// those: a cluster that was upgraded in place.
func TestTopicsAreMadeForRecordsWithHeaders(t *testing.T) {
	c, env := oldCluster(t, kfake.MaxVersions(kversion.V2_4_0()))
	c.ControlKey(int16(kmsg.DescribeConfigs), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		asked := req.(*kmsg.DescribeConfigsRequest).Resources
		if len(asked) == 0 || asked[0].ResourceType != kmsg.ConfigResourceTypeBroker {
			return nil, nil, false
		}
		r := kmsg.NewDescribeConfigsResponseResource()
		r.ResourceType, r.ResourceName = asked[0].ResourceType, asked[0].ResourceName
		for name, value := range map[string]string{"log.message.format.version": "0.10.2-IV0", "inter.broker.protocol.version": "2.4-IV1"} {
			if slices.Contains(asked[0].ConfigNames, name) {
				entry := kmsg.NewDescribeConfigsResponseResourceConfig()
				entry.Name, entry.Value = name, &value
				r.Configs = append(r.Configs, entry)
			}
		}
		res := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
		res.Resources = append(res.Resources, r)
		return res, nil, true
	})
	code, stdout, stderr := call(t, env, "", "topics", "create", "--partitions", "2")
	if code != exitDone || !strings.Contains(stderr, "log.message.format.version of the brokers is 0.10.2-IV0, which knows no headers: topics that are created get message.format.version=0.11.0") {
		t.Errorf("exit code %d, %s\n%s", code, stderr, stdout)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	set := func(value string) {
		t.Helper()
		if done, err := admin.AlterTopicConfigsState(t.Context(), []kadm.AlterConfig{{Name: "message.format.version", Value: &value}}, "closeorder.outcomes"); err != nil || done[0].Err != nil {
			t.Fatal(err, done)
		}
	}
	made, err := admin.DescribeTopicConfigs(t.Context(), "closeorder.outcomes")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(made[0].Configs, func(c kadm.Config) bool {
		return c.Key == "message.format.version" && c.MaybeValue() == "0.11.0"
	}) {
		t.Errorf("it was made with %+v", made[0].Configs)
	}
	set("0.10.2-IV0")
	if code, stdout, _ := call(t, env, "", "topics", "create"); code != exitBad || !strings.Contains(stdout, "message.format.version=0.10.2-IV0, which knows no headers: outcomes are refused") {
		t.Errorf("exit code %d\n%s", code, stdout)
	}
	worker := launch(t, env, "", "run")
	worker.stderr.find(t, `level=error msg="ALARM: the settings of a topic lose what is in it: message\.format\.version=0\.10\.2-IV0, which knows no headers: outcomes are refused .*" topic=closeorder\.outcomes`)
	worker.end(t)
}
