package main

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/deadletters"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func (a *app) deadLettersCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "deadletters", Short: "Finds requests that failed, and sends them again", GroupID: "look", Args: noCommand,
		Long: `Finds dead letters, shows them and sends them again. Each is a request that
failed: the original record byte for byte, and why. Each has its failed outcome.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		a.deadLettersListCommand(), a.deadLettersShowCommand(), a.deadLettersReplayCommand(),
		a.deadLettersExportCommand(), a.deadLettersImportCommand(),
	)
	return cmd
}

// letterFilter is the flags that choose dead letters.
type letterFilter struct {
	codes             []string
	mchID, outTradeNo string
	during            timeRange
}

func (f *letterFilter) add(flags *pflag.FlagSet) {
	flags.StringSliceVar(&f.codes, "code", nil, "only those that failed with this `CODE`, or one of several, comma-separated")
	flags.StringVar(&f.mchID, "mch-id", "", "only those of this merchant `ID`")
	flags.StringVar(&f.outTradeNo, "out-trade-no", "", "only those of this order `NUMBER`")
	f.during.add(flags, "those that failed")
}

func (f *letterFilter) parse(now time.Time) (deadletters.Filter, error) {
	since, until, err := f.during.parse(now)
	return deadletters.Filter{Codes: f.codes, MchID: f.mchID, OutTradeNo: f.outTradeNo, Since: since, Until: until}, err
}

// letterLine is a dead letter as a JSON line.
type letterLine struct {
	// Partition and Offset are its place in the dead-letter topic.
	Partition    int       `json:"partition"`
	Offset       int64     `json:"offset"`
	FailedAt     time.Time `json:"failed_at"`
	Code         string    `json:"code,omitempty"`
	Message      string    `json:"message,omitempty"`
	MchID        string    `json:"mch_id,omitempty"`
	SubMchID     string    `json:"sub_mch_id,omitempty"`
	OutTradeNo   string    `json:"out_trade_no,omitempty"`
	RequestID    string    `json:"request_id,omitempty"`
	Attempts     int       `json:"attempts"`
	Replay       int       `json:"replay"`
	ValueOmitted string    `json:"value_omitted,omitempty"`
	// Source is the request.
	Source          *events.Source `json:"source,omitempty"`
	SourceTimestamp time.Time      `json:"source_timestamp,omitzero"`
	// Problem says why the record is no dead letter.
	Problem string `json:"problem,omitempty"`
}

func lineOf(l deadletters.Letter) letterLine {
	q := l.Request
	line := letterLine{
		Partition: l.At.Partition, Offset: l.At.Offset, FailedAt: l.Time().UTC(), Code: l.ErrorCode, Message: l.ErrorMessage,
		MchID: q.MchID, SubMchID: q.SubMchID, OutTradeNo: q.OutTradeNo, RequestID: q.RequestID,
		Attempts: l.Calls, Replay: l.Replay, ValueOmitted: l.ValueOmitted, SourceTimestamp: l.SourceTimestamp,
	}
	if l.Err != nil {
		line.Problem = l.Err.Error()
	} else {
		source := l.Source
		line.Source = &source
		line.SourceTimestamp = line.SourceTimestamp.UTC()
	}
	return line
}

// place writes where a record stands, as show takes it.
func place(at events.Source) string {
	return strconv.Itoa(at.Partition) + ":" + strconv.FormatInt(at.Offset, 10)
}

func merchant(mchID, subMchID string) string {
	if subMchID != "" {
		mchID += "/" + subMchID
	}
	return orDash(mchID)
}

// oneLine is a cell of at most so many characters.
func oneLine(s string, most int) string {
	s = cell(s)
	if runes := []rune(s); len(runes) > most {
		s = string(runes[:most-1]) + "…"
	}
	return s
}

// jsonLines writes JSON documents, one a line.
func (a *app) jsonLines() *json.Encoder {
	enc := json.NewEncoder(escaped{a.stdout})
	enc.SetEscapeHTML(false)
	return enc
}
