package doctor

import (
	"context"
	"slices"
	"strings"

	"github.com/closeorder/closeorder/internal/topics"
)

// CheckTopicSettings is that the settings of topics can be seen.
const CheckTopicSettings = "topic-settings"

// grades are the severities of what package topics finds.
var grades = map[topics.Grade]Severity{topics.Noted: Note, topics.Doubtful: Warning, topics.Unsafe: Danger}

// topics compares the worker's topics with what they must be.
func (p *patient) topics(ctx context.Context) []Finding {
	c := topics.Cluster{Brokers: len(p.layout.Brokers), Topics: p.layout.Topics}
	var seen []string
	for _, name := range p.cfg.Topics.All() {
		if t, there := p.layout.Topics[name]; there && !t.Hidden {
			seen = append(seen, name)
		}
	}
	settings := Finding{OK, CheckTopicSettings, "topics", "those of " + count(len(seen), "topic") + " were seen", ""}
	if len(seen) > 0 {
		var err error
		if c.Settings, err = p.client.TopicSettings(ctx, seen, topics.LookedClosely()); err != nil {
			settings = unseen(ctx, CheckTopicSettings, "topics", err)
		}
	}
	return append(aboutTopics(c.Faults(p.cfg.Topics)), settings)
}

// aboutTopics are the findings of faults: what is the same of several topics is one.
func aboutTopics(faults []topics.Fault) (found []Finding) {
	var of [][]string // the topics of each
	for _, f := range faults {
		severity := grades[f.Grade]
		same := slices.IndexFunc(found, func(g Finding) bool { return g.Severity == severity && g.Check == f.Check && g.Evidence == f.Evidence })
		if same < 0 {
			found, of = append(found, Finding{severity, f.Check, f.Topic, f.Evidence, f.Remedy}), append(of, []string{f.Topic})
			continue
		}
		of[same] = append(of[same], f.Topic)
		if g := &found[same]; g.Remedy != f.Remedy {
			g.Remedy = strings.TrimSuffix(g.Remedy, alike) + alike
		}
	}
	for i, names := range of {
		if len(names) > 1 { // a row that names them all is too wide
			found[i].Subject = count(len(names), "topic")
			found[i].Evidence += " (" + strings.Join(names, ", ") + ")"
		}
	}
	return found
}

// alike says that the command is one of several.
const alike = "; and the same for the others"
