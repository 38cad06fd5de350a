package doctor

import (
	"errors"
	"fmt"
	"slices"

	"github.com/closeorder/closeorder/internal/config"
)

// The checks of the settings and of merchants' shape.
const (
	CheckSettings = "settings"
	CheckShape    = "merchant-shape"
)

// mistakes are the findings of settings that do not hold.
func mistakes(err error) (all []Finding) {
	found, is := errors.AsType[config.Mistakes](err)
	if !is {
		return []Finding{{Danger, CheckSettings, "settings", err.Error(), "set them right: a worker does not start with them"}}
	}
	for _, m := range found {
		f := Finding{Danger, CheckSettings, m.Setting, m.Problem, "set it right: a worker does not start with it"}
		if m.Doubt {
			f.Severity, f.Subject, f.Remedy = Warning, "settings", "look whether it is meant"
		}
		if m.Where != "" {
			f.Evidence = m.Where + ": " + m.Problem
		}
		all = append(all, f)
	}
	return all
}

// doubts are the findings of settings that hold: those of merchants apart.
func (d *Doctor) doubts(cfg config.Config) (all []Finding) {
	ofMerchants := config.Doubts(cfg.Merchants)
	for _, text := range cfg.Warnings {
		f := Finding{Warning, CheckSettings, "settings", text, "look whether it is meant"}
		if slices.Contains(ofMerchants, text) {
			f.Check, f.Subject = CheckShape, "merchants"
		}
		all = append(all, f)
	}
	if len(cfg.Warnings) == len(ofMerchants) {
		all = append(all, Finding{OK, CheckSettings, "settings", "they fit together", ""})
	}
	if len(ofMerchants) == 0 {
		all = append(all, Finding{OK, CheckShape, "merchants", fmt.Sprintf("%d, each with a key that looks whole", len(cfg.Merchants)), ""})
	}
	return all
}
