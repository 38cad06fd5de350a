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
	"github.com/closeorder/closeorder/internal/merchants"
	"github.com/closeorder/closeorder/internal/slips"
)

type duration = time.Duration

// A parser reads the text of one setting into its place. Its error says what
// the text should have been; the caller adds the setting's name and where the
// text came from.
type parser = func(*Config, string) error

func text(at func(*Config) *string) parser {
	return func(c *Config, s string) error {
		*at(c) = strings.TrimSpace(s)
		return nil
	}
}

func required(at func(*Config) *string) parser {
	return func(c *Config, s string) error {
		if *at(c) = strings.TrimSpace(s); *at(c) == "" {
			return fmt.Errorf("must not be empty")
		}
		return nil
	}
}

func secret(at func(*Config) *Secret) parser {
	return func(c *Config, s string) error {
		*at(c) = NewSecret(s)
		return nil
	}
}

func boolean(at func(*Config) *bool) parser {
	return func(c *Config, s string) error {
		switch strings.ToLower(strings.TrimSpace(s)) {
		case "true", "yes", "on", "1":
			*at(c) = true
		case "false", "no", "off", "0", "":
			*at(c) = false
		default:
			return fmt.Errorf("%q is neither true nor false", s)
		}
		return nil
	}
}

func number(at func(*Config) *int, low, high int) parser {
	return func(c *Config, s string) error {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil || n < low || n > high {
			return fmt.Errorf("%q is not a whole number from %d to %d", s, low, high)
		}
		*at(c) = n
		return nil
	}
}

// between reads a duration in Go's spelling; low and high are given in it too.
func between(at func(*Config) *duration, low, high string) parser {
	lowest, highest := mustDuration(low), mustDuration(high)
	return func(c *Config, s string) error {
		d, err := parseDuration(s)
		if err != nil {
			return err
		}
		if d < lowest || d > highest {
			return fmt.Errorf("%s is not between %s and %s", ShortDuration(d), low, high)
		}
		*at(c) = d
		return nil
	}
}

func parseDuration(s string) (duration, error) {
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
	case "s", "sec", "secs", "second", "seconds":
		return "; write " + m[1] + "s"
	case "m", "min", "mins", "minute", "minutes":
		return "; write " + m[1] + "m"
	case "h", "hr", "hrs", "hour", "hours":
		return "; write " + m[1] + "h"
	case "ms", "msec", "msecs", "millis", "milliseconds":
		return "; write " + m[1] + "ms"
	}
	return example
}

func mustDuration(s string) duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		panic("config: bound of a setting: " + err.Error())
	}
	return d
}

// choice takes one of the words given, in any case; "" among them makes it optional.
func choice(at func(*Config) *string, of ...string) parser {
	return func(c *Config, s string) error {
		s = strings.TrimSpace(s)
		for _, one := range of {
			if strings.EqualFold(s, one) {
				*at(c) = one
				return nil
			}
		}
		words := slices.DeleteFunc(slices.Clone(of), func(w string) bool { return w == "" })
		return fmt.Errorf("%q is not one of %s", s, strings.Join(words, ", "))
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

func addresses(at func(*Config) *[]string) parser {
	return func(c *Config, s string) error {
		items := list(s)
		if len(items) == 0 {
			return fmt.Errorf("names no broker; write for example kafka-1:9092,kafka-2:9092")
		}
		if strings.Contains(s, "@") {
			return fmt.Errorf("%q holds more than host:port (user and password are kafka.sasl.username and kafka.sasl.password); write for example kafka-1:9092,kafka-2:9092", slips.Redacted(s))
		}
		var wrong []string
		for _, item := range items {
			if err := checkAddress(item); err != nil {
				wrong = append(wrong, err.Error())
			}
		}
		if len(wrong) > 0 {
			return errors.New(strings.Join(wrong, "; "))
		}
		*at(c) = items
		return nil
	}
}

func checkAddress(s string) error {
	host, port, err := net.SplitHostPort(s)
	n, bad := strconv.Atoi(port)
	_, quoted := slips.Unquote(s)
	_, behind, isURL := strings.Cut(s, "://")
	switch {
	case quoted:
		return fmt.Errorf("%s is in quotes, leave them out", s)
	case strings.ContainsAny(s, "; \t"):
		return fmt.Errorf("%q is not host:port; write commas between several, as in kafka-1:9092,kafka-2:9092", s)
	case isURL:
		return fmt.Errorf("%q is not host:port; write %s", s, strings.TrimRight(behind, "/"))
	case err != nil || host == "" || strings.Contains(s, "/") || slips.Wide(s) != "" || bad != nil || n < 1 || n > 65535:
		return fmt.Errorf("%q is not host:port; write for example kafka-1:9092", s)
	}
	return nil
}

func listenAddress(at func(*Config) *string) parser {
	return func(c *Config, s string) error {
		if s = strings.TrimSpace(s); s == "" {
			*at(c) = ""
			return nil
		}
		_, port, err := net.SplitHostPort(s)
		n, bad := strconv.Atoi(port)
		if err != nil || bad != nil || n < 0 || n > 65535 {
			return fmt.Errorf("%q is not host:port; write for example :8081 or 127.0.0.1:8081", s)
		}
		*at(c) = s
		return nil
	}
}

// Kafka's rule for the name of a topic (org.apache.kafka.common.internals.Topic).
var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

func checkTopic(s string) error {
	if !topicName.MatchString(s) || s == "." || s == ".." {
		return fmt.Errorf("%q is not the name of a topic: 1 to 249 letters, digits, dots, dashes and underscores", s)
	}
	return nil
}

func topic(at func(*Config) *string) parser {
	return func(c *Config, s string) error {
		*at(c) = strings.TrimSpace(s)
		return checkTopic(*at(c))
	}
}

// topicPrefix takes a prefix with or without the dot that follows it.
func topicPrefix(at func(*Config) *string) parser {
	return func(c *Config, s string) error {
		*at(c) = strings.TrimSuffix(strings.TrimSpace(s), ".")
		return checkTopic(*at(c) + ".99h59m59s")
	}
}

func delays(at func(*Config) *[]duration) parser {
	return func(c *Config, s string) error {
		items := list(s)
		ds := make([]duration, len(items))
		for i, item := range items {
			d, err := parseDuration(item)
			if err != nil {
				return err
			}
			if d < time.Second || d%time.Second != 0 {
				return fmt.Errorf("%q is not a whole number of seconds of at least 1s", item)
			}
			ds[i] = d
		}
		if !slices.IsSorted(ds) || len(slices.Compact(slices.Clone(ds))) != len(ds) {
			return fmt.Errorf("%q is not ascending, each delay longer than the one before", s)
		}
		*at(c) = ds
		return nil
	}
}

func urls(at func(*Config) *[]string) parser {
	return func(c *Config, s string) error {
		items := list(s)
		if len(items) == 0 {
			return fmt.Errorf("names no gateway; write for example https://api.mch.weixin.qq.com")
		}
		// A password may hold a comma, so that an item is only a part of it:
		// whatever stands before an @ is nobody's to see.
		if strings.Contains(s, "@") {
			return fmt.Errorf("%q must be plain base URLs, without user and password", slips.Redacted(s))
		}
		hosts, problems := merchants.ParseHosts(items)
		var wrong []string
		for i := range items {
			if err := problems[i]; err != nil {
				wrong = append(wrong, err.Error())
			}
		}
		if len(wrong) > 0 {
			return errors.New(strings.Join(wrong, "; "))
		}
		*at(c) = hosts
		return nil
	}
}

func confirm(at func(*Config) *string) parser {
	return func(c *Config, s string) error {
		mode, err := closer.ParseConfirm(strings.ToLower(strings.TrimSpace(s)))
		*at(c) = string(mode)
		return err
	}
}

func rate(at func(*Config) *float64) parser {
	return func(c *Config, s string) error {
		n, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
		if err != nil {
			n = -1
		}
		if err := closer.CheckRate(n); err != nil {
			return fmt.Errorf("%q %w", s, err)
		}
		*at(c) = n
		return nil
	}
}

// proxy is kept as a secret: its URL may hold a password.
func proxy(at func(*Config) *Secret) parser {
	return func(c *Config, s string) error {
		s = strings.TrimSpace(s)
		if s != "" {
			u, err := url.Parse(s)
			if err != nil || u.Host == "" || !slices.Contains([]string{"http", "https", "socks5"}, u.Scheme) {
				return fmt.Errorf("%q is not the URL of a proxy; write for example http://proxy:3128", slips.Redacted(s))
			}
		}
		*at(c) = NewSecret(s)
		return nil
	}
}
