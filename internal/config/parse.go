package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/merchants"
	"github.com/closeorder/closeorder/internal/slips"
)

// into has the text of a setting read into its place. The error says what the
// text should have been; the caller adds the setting's name and where the text
// came from.
func into[T any](at *T, read func(string) (T, error)) func(string) error {
	return func(s string) (err error) {
		*at, err = read(s)
		return err
	}
}

func text(s string) (string, error) { return strings.TrimSpace(s), nil }

func required(s string) (string, error) {
	if s = strings.TrimSpace(s); s == "" {
		return "", errors.New("must not be empty")
	}
	return s, nil
}

func secret(s string) (Secret, error) { return NewSecret(s), nil }

func boolean(s string) (bool, error) {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "true", "yes", "on", "1":
		return true, nil
	case "false", "no", "off", "0", "":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither true nor false", s)
}

func number(low, high int) func(string) (int, error) {
	return func(s string) (int, error) {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil || n < low || n > high {
			return 0, fmt.Errorf("%q is not a whole number from %d to %d", s, low, high)
		}
		return n, nil
	}
}

// between reads a duration in Go's spelling.
func between(low, high time.Duration) func(string) (time.Duration, error) {
	return func(s string) (time.Duration, error) {
		d, err := duration(s)
		if err == nil && (d < low || d > high) {
			return 0, fmt.Errorf("%s is not between %s and %s", ShortDuration(d), ShortDuration(low), ShortDuration(high))
		}
		return d, err
	}
}

func duration(s string) (time.Duration, error) {
	s = strings.TrimSpace(s)
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration%s", s, durationRemedy(s))
	}
	return d, nil
}

// measure is a number and what people write behind it.
var measure = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Zµμ]*)\.?$`)

// durationRemedy says what to write for s, as far as that is clear.
func durationRemedy(s string) string {
	const example = "; write for example 500ms, 10s, 5m or 1h30m"
	if joined := strings.Join(strings.Fields(s), ""); joined != s {
		if _, err := time.ParseDuration(joined); err == nil {
			return ": it has a blank in it; write " + joined
		}
	}
	m := measure.FindStringSubmatch(s)
	if m == nil {
		return example
	}
	switch unit := strings.ToLower(m[2]); unit {
	case "":
		return fmt.Sprintf(": it has no unit; write %ss for seconds, %sms for milliseconds", m[1], m[1])
	case "d", "day", "days":
		if days, err := strconv.Atoi(m[1]); err == nil && days < 1000 {
			return fmt.Sprintf(": there is no unit of days; write %dh", days*24)
		}
	case "s", "sec", "secs", "second", "seconds", "m", "min", "mins", "minute", "minutes", "h", "hr", "hrs", "hour", "hours":
		return "; write " + m[1] + unit[:1]
	case "ms", "msec", "msecs", "millis", "milliseconds":
		return "; write " + m[1] + "ms"
	}
	return example
}

// units of sizes. Those of ten are left out: few who write MB mean 10^6.
var units = map[string]int64{"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}

// size reads a number of bytes, with or without a unit.
func size(low, high int64) func(string) (int64, error) {
	return func(s string) (int64, error) {
		m := measure.FindStringSubmatch(strings.TrimSpace(s))
		if m == nil {
			return 0, fmt.Errorf("%q is not a size; write for example 64MiB, or a number of bytes", s)
		}
		unit, known := units[strings.ToLower(m[2])]
		n, err := strconv.ParseInt(m[1], 10, 64)
		switch letter := strings.ToUpper(m[2]); {
		case !known && slices.Contains([]string{"K", "M", "G", "KB", "MB", "GB"}, letter):
			return 0, fmt.Errorf("%q has no unit that is known; write %s%ciB", s, m[1], letter[0])
		case !known || err != nil:
			return 0, fmt.Errorf("%q is not a size in whole B, KiB, MiB or GiB; write for example 64MiB", s)
		case n < (low+unit-1)/unit || n > high/unit:
			return 0, fmt.Errorf("%q is not between %s and %s", s, shortSize(low), shortSize(high))
		}
		return n * unit, nil
	}
}

// shortSize writes n in the largest unit that leaves it whole.
func shortSize(n int64) string {
	for _, unit := range []string{"GiB", "MiB", "KiB"} {
		if by := units[strings.ToLower(unit)]; n >= by && n%by == 0 {
			return fmt.Sprint(n/by, unit)
		}
	}
	return fmt.Sprint(n, "B")
}

// spans reads runs of offsets, and names each that is wrong.
func spans(s string) ([]kafka.Span, error) {
	var all []kafka.Span
	var wrong []string
	for _, item := range list(s) {
		one, err := kafka.ParseSpan(item)
		if err != nil {
			wrong = append(wrong, err.Error())
		}
		all = append(all, one)
	}
	if len(wrong) > 0 {
		return nil, errors.New(strings.Join(wrong, "; "))
	}
	return all, nil
}

// choice takes one of the words given, in any case; "" among them makes it optional.
func choice(of ...string) func(string) (string, error) {
	return func(s string) (string, error) {
		s = strings.TrimSpace(s)
		if i := slices.IndexFunc(of, func(one string) bool { return strings.EqualFold(s, one) }); i >= 0 {
			return of[i], nil
		}
		words := slices.DeleteFunc(slices.Clone(of), func(w string) bool { return w == "" })
		return "", fmt.Errorf("%q is not one of %s", s, strings.Join(words, ", "))
	}
}

// list splits at commas and drops what is empty.
func list(s string) []string {
	var items []string
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

func addresses(s string) ([]string, error) {
	items := list(s)
	if len(items) == 0 {
		return nil, errors.New("names no broker; write for example kafka-1:9092,kafka-2:9092")
	}
	if strings.Contains(s, "@") {
		return nil, fmt.Errorf("%q holds more than host:port (user and password are kafka.sasl.username and kafka.sasl.password); write for example kafka-1:9092,kafka-2:9092", slips.Redacted(s))
	}
	var wrong []string
	for _, item := range items {
		if err := checkAddress(item); err != nil {
			wrong = append(wrong, err.Error())
		}
	}
	if len(wrong) > 0 {
		return nil, errors.New(strings.Join(wrong, "; "))
	}
	return items, nil
}

func checkAddress(s string) error {
	host, port, err := net.SplitHostPort(s)
	_, quoted := slips.Unquote(s)
	_, behind, isURL := strings.Cut(s, "://")
	switch {
	case quoted:
		return fmt.Errorf("%s is in quotes, leave them out", s)
	case strings.ContainsAny(s, "; \t"):
		return fmt.Errorf("%q is not host:port; write commas between several, as in kafka-1:9092,kafka-2:9092", s)
	case isURL:
		return fmt.Errorf("%q is not host:port; write %s", s, strings.TrimRight(behind, "/"))
	case err != nil || host == "" || strings.Contains(s, "/") || slips.Wide(s) != "" || !isPort(port, 1):
		return fmt.Errorf("%q is not host:port; write for example kafka-1:9092", s)
	}
	return nil
}

func isPort(s string, least int) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= least && n <= 65535
}

func listenAddress(s string) (string, error) {
	s = strings.TrimSpace(s)
	if _, port, err := net.SplitHostPort(s); s != "" && (err != nil || !isPort(port, 0)) {
		return "", fmt.Errorf("%q is not host:port; write for example :8081 or 127.0.0.1:8081", s)
	}
	return s, nil
}

// DefaultAdminAddr is where the admin listener is unless somebody says otherwise:
// whoever is on the machine can reach it, and nobody else.
const DefaultAdminAddr = "127.0.0.1:9290"

// adminAddress is a listenAddress, or empty for off.
func adminAddress(s string) (string, error) {
	if strings.TrimSpace(s) == "off" {
		return "", nil
	}
	return listenAddress(s)
}

// Kafka's rule for the name of a topic (org.apache.kafka.common.internals.Topic).
var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

func checkTopic(s string) error {
	if !topicName.MatchString(s) || s == "." || s == ".." {
		return fmt.Errorf("%q is not the name of a topic: 1 to 249 letters, digits, dots, dashes and underscores", s)
	}
	return nil
}

func topic(s string) (string, error) {
	s = strings.TrimSpace(s)
	return s, checkTopic(s)
}

// topicPrefix takes a prefix with or without the dot that follows it.
func topicPrefix(s string) (string, error) {
	s = strings.TrimSuffix(strings.TrimSpace(s), ".")
	return s, checkTopic(s + ".99h59m59s")
}

func delays(s string) ([]time.Duration, error) {
	items := list(s)
	ds := make([]time.Duration, len(items))
	for i, item := range items {
		d, err := duration(item)
		if err != nil {
			return nil, err
		}
		if d < time.Second || d%time.Second != 0 {
			return nil, fmt.Errorf("%q is not a whole number of seconds of at least 1s", item)
		}
		ds[i] = d
	}
	if !slices.IsSorted(ds) || len(slices.Compact(slices.Clone(ds))) != len(ds) {
		return nil, fmt.Errorf("%q is not ascending, each delay longer than the one before", s)
	}
	return ds, nil
}

func urls(s string) ([]string, error) {
	items := list(s)
	if len(items) == 0 {
		return nil, errors.New("names no gateway; write for example https://api.mch.weixin.qq.com")
	}
	// A password may hold a comma, so that an item is only a part of it:
	// whatever stands before an @ is nobody's to see.
	if strings.Contains(s, "@") {
		return nil, fmt.Errorf("%q must be plain base URLs, without user and password", slips.Redacted(s))
	}
	hosts, problems := merchants.ParseHosts(items)
	var wrong []string
	for i := range items {
		if err := problems[i]; err != nil {
			wrong = append(wrong, err.Error())
		}
	}
	if len(wrong) > 0 {
		return nil, errors.New(strings.Join(wrong, "; "))
	}
	return hosts, nil
}

func confirm(s string) (string, error) {
	mode, err := closer.ParseConfirm(strings.ToLower(strings.TrimSpace(s)))
	return string(mode), err
}

func rate(s string) (float64, error) {
	n, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil {
		n = -1
	}
	if err := closer.CheckRate(n); err != nil {
		return 0, fmt.Errorf("%q %w", s, err)
	}
	return n, nil
}

// proxy is kept as a secret: its URL may hold a password.
func proxy(s string) (Secret, error) {
	if s = strings.TrimSpace(s); s != "" {
		u, err := url.Parse(s)
		if err != nil || u.Host == "" || !slices.Contains([]string{"http", "https", "socks5"}, u.Scheme) {
			return Secret{}, fmt.Errorf("%q is not the URL of a proxy; write for example http://proxy:3128", slips.Redacted(s))
		}
	}
	return NewSecret(s), nil
}
