package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/deadletters"
	"github.com/spf13/cobra"
)

func (a *app) deadLettersShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show PARTITION:OFFSET", Short: "Shows one dead letter, whole",
		Long: `Shows one dead letter: why it is one, and the key, headers and value of the
request as they came. Characters that could play tricks on a terminal are
escaped; --raw writes the bytes of the value and nothing else.`,
		Example: `closeorder deadletters show 2:17
closeorder deadletters show 2:17 --raw > request.json`,
	}
	raw := cmd.Flags().Bool("raw", false, "write the bytes of the value alone")
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	settings := a.settings(cmd, []config.Section{config.Connection, config.TopicNames})
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usagef("takes one argument, PARTITION:OFFSET as \"deadletters list\" prints it")
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var wrong misuse
		at, err := parsePlace(args[0])
		wrong.add(err)
		wrong.must(!*raw || !*asJSON, "--raw and --json are two things; give one of them")
		c, err := settings.connect(&wrong)
		if err != nil {
			return err
		}
		defer c.close()
		at.Topic = c.topics.DeadLetters
		ctx, cancel := reach(cmd.Context())
		defer cancel()
		l, err := deadletters.Get(ctx, c.reader(), at)
		switch {
		case err != nil:
			return err
		case *raw && l.ValueOmitted != "":
			return fmt.Errorf("the value is not in the dead letter (%s); the request stands at %s, partition %d, offset %d", l.ValueOmitted, l.Source.Topic, l.Source.Partition, l.Source.Offset)
		case *raw:
			_, err = a.stdout.Write(l.Original.Value)
			return err
		case *asJSON:
			return a.jsonLines().Encode(l.Whole())
		}
		a.printLetter(l)
		return nil
	}
	return cmd
}

func parsePlace(s string) (events.Source, error) {
	partition, offset, ok := strings.Cut(s, ":")
	p, err1 := strconv.ParseUint(partition, 10, 31)
	o, err2 := strconv.ParseUint(offset, 10, 63)
	if !ok || errors.Join(err1, err2) != nil {
		return events.Source{}, usagef("%q is not PARTITION:OFFSET, such as 2:17", s)
	}
	return events.Source{Partition: int(p), Offset: int64(o)}, nil
}

func (a *app) printLetter(l deadletters.Letter) {
	p := a.paint(a.stdout)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(a.stdout, "%s%s%s\n", p.in(bold, name), strings.Repeat(" ", max(1, 14-len(name))), fmt.Sprintf(format, args...))
	}
	row("dead letter", "%s, partition %d, offset %d", l.At.Topic, l.At.Partition, l.At.Offset)
	if l.Err != nil {
		row("problem", "%s", p.in(red, "this is no dead letter: "+cell(l.Err.Error())))
	} else {
		row("request", "%s, partition %d, offset %d%s", cell(l.Source.Topic), l.Source.Partition, l.Source.Offset, stamp(l))
		row("order", "%s of merchant %s", orDash(l.Request.OutTradeNo), merchant(l.Request.MchID, l.Request.SubMchID))
		row("request_id", "%s", orDash(l.Request.RequestID))
		row("failed", "%s after %s, replay %d", zoned(l.FailedAt), count(l.Calls, "call"), l.Replay)
		row("code", "%s", p.in(red, printable([]byte(l.ErrorCode))))
		row("reason", "%s", printable([]byte(l.ErrorMessage)))
	}
	row("key", "%s", nilOr(l.Original.Key))
	row("headers", "%d", len(l.Original.Headers))
	for _, h := range l.Original.Headers {
		fmt.Fprintf(a.stdout, "  %s: %s\n", printable([]byte(h.Key)), nilOr(h.Value))
	}
	if l.ValueOmitted != "" {
		row("value", "left out (%s); it is %s", cell(l.ValueOmitted), "where the request stands, as long as that is retained")
		return
	}
	row("value", "%d bytes", len(l.Original.Value))
	fmt.Fprintln(a.stdout, nilOr(l.Original.Value))
}

func stamp(l deadletters.Letter) string {
	if l.SourceTimestamp.IsZero() {
		return ""
	}
	return ", of " + zoned(l.SourceTimestamp)
}

func nilOr(b []byte) string {
	if b == nil {
		return "(null)"
	}
	return printable(b)
}

// printable is b as it is, but for what is not text and what a terminal would
// obey: that is escaped, as in Go.
func printable(b []byte) string {
	var out strings.Builder
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && size <= 1:
			fmt.Fprintf(&out, `\x%02x`, b[0])
		case r == '\n' || r == '\t' || strconv.IsPrint(r) || r == '\u3000':
			out.WriteRune(r)
		default:
			quoted := strconv.QuoteRune(r)
			out.WriteString(quoted[1 : len(quoted)-1])
		}
		b = b[size:]
	}
	return out.String()
}
