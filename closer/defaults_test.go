package closer_test

import (
	"reflect"
	"slices"
	"testing"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/worker"
	"github.com/closeorder/closeorder/signing"
)

// What a closer does without being told is what the settings are by default:
// each default stands in one place.
func TestASettingHasOneDefault(t *testing.T) {
	set, err := worker.GatewayConfig(config.Default().Gateway)
	if err != nil {
		t.Fatal(err)
	}
	set.Merchants = closer.MerchantMap{}
	bare := closer.Config{Merchants: closer.MerchantMap{}, Hosts: set.Hosts}
	if set, err = closer.WithDefaults(set); err != nil {
		t.Fatal(err)
	}
	if bare, err = closer.WithDefaults(bare); err != nil {
		t.Fatal(err)
	}
	fields := 0
	for i, field := range reflect.VisibleFields(reflect.TypeFor[closer.Config]()) {
		a, b := reflect.ValueOf(set).Field(i), reflect.ValueOf(bare).Field(i)
		if field.Type.Kind() == reflect.Func {
			if a.IsNil() != b.IsNil() {
				t.Errorf("%s: one of them is nil", field.Name)
			}
			continue
		}
		fields++
		if !reflect.DeepEqual(a.Interface(), b.Interface()) {
			t.Errorf("%s: by the settings %v, in closer %v", field.Name, a, b)
		}
	}
	if fields < 10 {
		t.Errorf("only %d fields were looked at", fields)
	}
	settings := config.Settings()
	i := slices.IndexFunc(settings, func(s config.Setting) bool { return s.Name == "sign_type" })
	if got := (closer.Merchant{}).SignType; settings[i].Default != string(signing.MD5) || got != "" {
		t.Errorf("sign_type: %q, %q", settings[i].Default, got)
	}
}
