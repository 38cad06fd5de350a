package main

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/deadletters"
	"github.com/closeorder/closeorder/internal/moments"
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
func (a *app) jsonLines() jsonEncoder {
	enc := json.NewEncoder(escaped{a.stdout})
	enc.SetEscapeHTML(false)
	return jsonEncoder{enc}
}

// jsonEncoder writes documents whatever times stand in them.
type jsonEncoder struct{ *json.Encoder }

func (e jsonEncoder) Encode(doc any) error { return e.Encoder.Encode(moments.Writable(doc)) }
