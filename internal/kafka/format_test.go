package kafka_test

import (
	"testing"

	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// TestAFormatWithoutHeadersCountsWhereTheBrokersGoByIt: brokers from 3.0 on ignore it,
// unless they still speak among each other as older ones do (KIP-724).
func TestAFormatWithoutHeadersCountsWhereTheBrokersGoByIt(t *testing.T) {
	for sentence, tt := range map[string]struct {
		format, spoken string
		release        *kversion.Versions
		hidden         bool // the settings of the brokers
		want           bool
	}{
		"of 2.8, as they come":                        {"2.8-IV1", "2.8-IV1", kversion.V2_8_0(), false, false},
		"of 1.1, upgraded in place":                   {"0.10.2-IV0", "1.1-IV0", kversion.V1_1_0(), false, true},
		"of 2.8, upgraded in place":                   {"0.9.0.X", "2.8-IV1", kversion.V2_8_0(), false, true},
		"of 3.9, upgraded to the end":                 {"0.10.2-IV0", "3.9-IV0", kversion.V3_9_0(), false, false},
		"of 3.9, in the middle of an upgrade":         {"0.10.2-IV0", "2.8-IV1", kversion.V3_9_0(), false, true},
		"of 2.8, which may not be described":          {"0.10.2-IV0", "", kversion.V2_8_0(), true, true},
		"of 3.9, which may not be described":          {"0.10.2-IV0", "", kversion.V3_9_0(), true, false},
		"of 4.0, which do not know the setting":       {"", "", kversion.V4_0_0(), false, false},
		"of something else, which says what it wants": {"v2", "", kversion.V2_4_0(), false, false},
	} {
		t.Run(sentence, func(t *testing.T) {
			c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "t"), kfake.MaxVersions(tt.release))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.Close)
			c.ControlKey(int16(kmsg.DescribeConfigs), func(req kmsg.Request) (kmsg.Response, error, bool) {
				c.KeepControl()
				res := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
				for _, asked := range req.(*kmsg.DescribeConfigsRequest).Resources {
					r := kmsg.NewDescribeConfigsResponseResource()
					r.ResourceType, r.ResourceName = asked.ResourceType, asked.ResourceName
					if tt.hidden && asked.ResourceType == kmsg.ConfigResourceTypeBroker {
						r.ErrorCode = kerr.ClusterAuthorizationFailed.Code
					} else {
						for _, name := range asked.ConfigNames {
							value := map[string]string{kafka.FormatSetting: tt.format, kafka.FormatDefault: tt.format, "inter.broker.protocol.version": tt.spoken}[name]
							if value != "" {
								entry := kmsg.NewDescribeConfigsResponseResourceConfig()
								entry.Name, entry.Value = name, &value
								r.Configs = append(r.Configs, entry)
							}
						}
					}
					res.Resources = append(res.Resources, r)
				}
				return res, nil, true
			})
			client := kafka.Open(kafka.Config{Brokers: c.ListenAddrs()}, "t")
			defer client.Close()
			settings, err := client.TopicSettings(t.Context(), []string{"t"}, []string{kafka.FormatSetting})
			if err != nil {
				t.Fatal(err)
			}
			if got := kafka.DropsHeaders(settings["t"][kafka.FormatSetting]); got != tt.want {
				t.Errorf("settings %v: drops headers: %v, want %v", settings, got, tt.want)
			}
			format, err := client.OldFormat(t.Context())
			if (err != nil) != tt.hidden || !tt.hidden && (format != "") != tt.want {
				t.Errorf("new topics get %q, %v", format, err)
			}
		})
	}
}
