package topics_test

import (
	"strings"
	"testing"

	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/topics"
)

func TestWhatBrokersLackHasAConsequenceAndARemedy(t *testing.T) {
	all := topics.Lacks(append(kafka.Features(), kafka.Features()...)) // of two brokers
	if len(all) != len(kafka.Features())-1 {
		t.Errorf("%d of %d features are told of, want all but %s", len(all), len(kafka.Features()), kafka.OpenIdempotence)
	}
	for _, l := range all {
		if l.Consequence == "" || !strings.Contains(l.WhatToDo(), "upgrade the brokers to Kafka "+l.Feature.Since().String()) || !strings.Contains(l.Heading(), string(l.Feature)) {
			t.Errorf("%+v: %s; %s", l, l.Heading(), l.WhatToDo())
		}
	}
	if got := topics.Lacks(nil); got != nil {
		t.Errorf("brokers that lack nothing: %+v", got)
	}
}
