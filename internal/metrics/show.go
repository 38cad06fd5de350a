package metrics

import (
	"strconv"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/consumer"
)

// show shows what a worker says of itself.
func (c *stateCollector) show(out sink, s *consumer.State) {
	out.flag(live, s.Health.Live)
	out.flag(ready, s.Health.Ready)
	out.count(stuckReasons, len(s.Health.Stuck))
	out.value(started, float64(s.Started.UnixMilli())/1e3)

	out.flag(memberJoined, s.Member.Joined)
	out.count(memberGeneration, int(s.Member.Generation))
	out.value(leaseRemaining, max(s.Member.LeaseUntil.Sub(s.At), 0).Seconds())

	showPartitions(out, s)
	out.value(dueNow, float64(s.DueNow))
	out.value(oldestUnanswered, s.OldestUnanswered.Seconds())
	for _, t := range s.Tiers {
		out.count(tierWaiting, t.Waiting, t.Topic)
		out.value(tierUnread, float64(t.Unread), t.Topic)
	}

	out.count(callSlots, s.Lanes.Slots)
	out.count(inFlight, s.Lanes.InFlight)
	out.count(resting, s.Lanes.Resting)
	out.count(lanesReady, s.Lanes.Ready)
	out.count(lanes, s.Lanes.Orders)
	out.count(unpublished, s.Lanes.Unpublished)
	out.value(longestTurn, s.Lanes.LongestTurn.Seconds())

	for _, name := range breakerStates {
		out.flag(breakerState, s.Breaker.State == name, name)
	}
	out.since(breakerOpen, s.Breaker.Since, s.At)
	out.count(breakerLimit, s.Breaker.Limit)

	out.since(publishFailing, s.Publishing.Failing, s.At)
	out.flag(setAside, s.Publishing.Blocked)
	out.count(refusedRecords, s.Publishing.Refused)
	out.since(commitFailing, s.Committing.Failing, s.At)
	out.since(commitPending, s.Committing.Pending, s.At)

	out.value(bufferedBytes, float64(s.Memory.Held))
	out.value(bufferedLimit, float64(s.Memory.Most))
	out.count(connections, s.Connections)
	showWaits(out, s)
}

func showPartitions(out sink, s *consumer.State) {
	open, owned := 0, make(map[string]int)
	for _, p := range s.Partitions {
		id := strconv.Itoa(p.Partition)
		out.value(partitionLag, float64(p.Lag()), p.Topic, id)
		out.flag(partitionStopped, p.Stopped != "", p.Topic, id)
		out.flag(partitionFailing, p.FetchError != "", p.Topic, id)
		open += p.Open
		owned[p.Topic]++
	}
	out.count(openRequests, open)
	for topic, n := range owned {
		out.count(partitions, n, topic)
	}
}

// showWaits shows the reasons that [consumer.Health] has sentences for, as words.
func showWaits(out sink, s *consumer.State) {
	is := map[string]bool{
		"gateway":         s.Breaker.State != "" && s.Breaker.State != "closed",
		"merchants":       len(s.Holds) > 0,
		"publishing":      !s.Publishing.Failing.IsZero(),
		"committing":      !s.Committing.Failing.IsZero(),
		"refused_records": s.Publishing.Refused > 0,
		"quotas":          s.Throttled >= throttledLong,
	}
	for _, p := range s.Partitions {
		is["partition_stopped"] = is["partition_stopped"] || p.Stopped != ""
		is["fetching"] = is["fetching"] || p.FetchError != ""
	}
	for _, reason := range waitReasons {
		out.flag(waits, is[reason], reason)
	}
}

// showHosts shows the gateway's hosts. Those beyond the bound are shown as one: in
// use where all are, failing where one is.
func (c *stateCollector) showHosts(out sink, hosts []closer.HostHealth) {
	type health struct {
		inUse, failing bool
		limit          int
	}
	byLabel := make(map[string]health)
	for _, h := range hosts {
		label := c.hosts.of(h.URL)
		is, known := byLabel[label]
		byLabel[label] = health{h.InUse && (is.inUse || !known), h.Failing || is.failing, is.limit + h.Limit}
	}
	for label, is := range byLabel {
		out.flag(hostInUse, is.inUse, label)
		out.flag(hostFailing, is.failing, label)
		out.count(hostLimit, is.limit, label)
	}
}

// showHolds shows the merchants that are held.
func (c *stateCollector) showHolds(out sink, s *consumer.State) {
	type hold struct{ mchID, reason string }
	holds, merchants := make(map[hold]int), make(map[hold]bool)
	first := s.At
	for _, h := range s.Holds {
		reason := holdReasons[0]
		if h.Silent {
			reason = holdReasons[1]
		}
		holds[hold{c.merchants.of(h.MchID), reason}]++
		merchants[hold{h.MchID, reason}] = true
		if h.Since.Before(first) {
			first = h.Since
		}
	}
	for is, n := range holds {
		out.count(merchantHeld, n, is.mchID, is.reason)
	}
	byReason := make(map[string]int)
	for is := range merchants {
		byReason[is.reason]++
	}
	for _, reason := range holdReasons {
		out.count(merchantsHeld, byReason[reason], reason)
	}
	out.since(oldestHold, first, s.At)
}
