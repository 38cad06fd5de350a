package audit

import (
	"strings"
	"testing"

	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/kafka/group"
)

func TestWhatIsNotedOfAGroup(t *testing.T) {
	members := []kafka.GroupMember{{ID: "worker-0-1", ClientID: "worker", Host: "/10.0.0.7"}}
	mixed := []kafka.GroupMember{
		{ID: "1", ClientID: "java", Host: "/10.0.0.9", Protocol: kafka.Consumer},
		{ID: "2", ClientID: "worker", Host: "/10.0.0.7", Protocol: kafka.Classic},
		{ID: "3", ClientID: "java", Host: "/10.0.0.9", Protocol: kafka.Consumer},
	}
	for sentence, test := range map[string]struct {
		group kafka.Group
		open  int64
		want  string // in the note, empty for none
	}{
		"workers are at it":                            {kafka.Group{Protocol: kafka.Classic, State: "Stable", Members: members}, 3, ""},
		"nobody is there, and nothing is to be done":   {kafka.Group{Protocol: kafka.Classic, State: "Empty"}, 0, ""},
		"nobody is there":                              {kafka.Group{Protocol: kafka.Classic, State: "Empty"}, 3, "has no member"},
		"there is no such group":                       {kafka.Group{}, 3, "has no member"},
		"a client of the new protocol is in the group": {kafka.Group{Protocol: kafka.Consumer, Members: mixed}, 3, "(it is java at 10.0.0.9)"},
		"it is, and nothing is to be done":             {kafka.Group{Protocol: kafka.Consumer, Members: mixed}, 0, "(it is java at 10.0.0.9)"},
		"nobody knows which of them it is":             {kafka.Group{Protocol: kafka.Consumer, Members: members}, 0, "(members now: worker at 10.0.0.7)"},
		"it was in the group":                          {kafka.Group{Protocol: kafka.Consumer}, 0, "(it has left)"},
	} {
		t.Run(sentence, func(t *testing.T) {
			got := groupNote("workers", test.group, test.open)
			if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
				t.Errorf("noted is %q", got)
			}
		})
	}
}

func TestWhoServes(t *testing.T) {
	ours, foreign := group.Fellow{ID: "1", ClientID: "closeorder", Ours: true}, group.Fellow{ID: "2", ClientID: "analytics", Host: "/10.0.0.9"}
	for sentence, test := range map[string]struct {
		group group.Described
		want  string // in why nobody does, empty for somebody
	}{
		"a worker":                             {group.Described{Told: true, Members: []group.Fellow{foreign, ours}}, ""},
		"nobody":                               {group.Described{}, "group workers has no member"},
		"others alone":                         {group.Described{Told: true, Members: []group.Fellow{foreign}}, "no closeorder among its 1 members (analytics at 10.0.0.9"},
		"members that cannot say who they are": {group.Described{Members: []group.Fellow{foreign}}, ""},
	} {
		if got := nobody("workers", test.group); (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%s: %q", sentence, got)
		}
	}
}
