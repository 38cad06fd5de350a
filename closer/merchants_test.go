package closer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/closeorder/closeorder/signing"
)

var merchantsDir = filepath.Join("..", "testdata", "closer", "merchants")

func TestLoadMerchants(t *testing.T) {
	const inEnv, nextInEnv = "11111111111111111111111111111111", "22222222222222222222222222222222"
	t.Setenv("CLOSEORDER_TEST_KEY", inEnv)
	t.Setenv("CLOSEORDER_TEST_NEXT_KEY", nextInEnv)
	got, err := LoadMerchants(filepath.Join(merchantsDir, "good.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	want := []Merchant{
		{MchID: "1900000109", AppID: "wx8888888888888888", SignType: signing.MD5},
		{MchID: "1900000110", AppID: "wx8888888888888889", SignType: signing.HMACSHA256, Rate: 12.5,
			Hosts: []string{"https://api.mch.weixin.qq.com", "https://api2.mch.weixin.qq.com"}},
		{MchID: "1900000111", AppID: "wxaaaaaaaaaaaaaaaa", SignType: signing.MD5, Institution: true,
			SubMchID: "1900000112", SubAppID: "wxbbbbbbbbbbbbbbbb"},
	}
	keys := [][]string{{testKey}, {nextInEnv, "fedcba98765432100123456789abcdef"}, {inEnv}}
	if len(got) != len(want) {
		t.Fatalf("got %d merchants", len(got))
	}
	for i, m := range got {
		for j, k := range keys[i] {
			if len(m.Keys) != len(keys[i]) || !m.Keys[j].Equal(mustKey(t, k)) {
				t.Errorf("merchant %s: wrong keys", m.MchID)
			}
		}
		m.Keys = nil
		if fmt.Sprintf("%+v", m) != fmt.Sprintf("%+v", want[i]) {
			t.Errorf("got  %+v\nwant %+v", m, want[i])
		}
	}
}

func TestMerchantsFileNamesEveryMistake(t *testing.T) {
	_, err := LoadMerchants(filepath.Join(merchantsDir, "bad.yaml"))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"line 2: mch_id is missing",
		`line 4: merchant "1900000109" has no key`,
		"line 5: merchant 1900000109 is there already, in line 4",
		"line 7: key and key_env are both there",
		"line 9: key_env: the environment has no variable CLOSEORDER_TEST_NOT_SET",
		`line 10: sign_type: unknown sign type "HMAC-SHA2566"`,
		`line 11: mode is "provider"`,
		"line 12: rate must be",
		`line 13: host "api.mch.weixin.qq.com" must begin with https`,
		"line 14: colour is not a known name here",
		"line 15: this is not a known name here",
		"line 16: mch_id must be in quotes",
		"line 16: sub_mch_id and sub_appid belong to institution mode",
		"line 17: key and key_file are both there",
		"line 20: key is there twice",
		"line 21: a merchant must be a mapping",
		"line 23: key must be a single value",
		"line 24: next_key: API key has white space",
		"line 25: merchant is not a known name here",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("does not say: %s", want)
		}
	}
	if n := strings.Count(err.Error(), "\n") + 1; n != 19 {
		t.Errorf("%d mistakes named, there are 19", n)
	}
	for _, secret := range []string{"secretsecret", testKey} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("shows a key")
		}
	}
	if t.Failed() {
		t.Logf("the error:\n%v", err)
	}
}

func TestParseMerchantsAsAWhole(t *testing.T) {
	for sentence, tt := range map[string]struct{ in, want string }{
		"an empty file":                   {"", "empty"},
		"only a comment":                  {"# nothing\n", "empty"},
		"an empty list":                   {"merchants: []\n", "line 1: there is no merchant"},
		"no list":                         {"{}\n", "line 1: a list named merchants is missing"},
		"null":                            {"null\n", "line 1: the file must be a mapping"},
		"not a list":                      {"merchants: {a: b}\n", "line 1: merchants must be a list"},
		"a list at the top":               {"- mch_id: x\n", "line 1: the file must be a mapping"},
		"two documents":                   {"merchants: []\n---\nmerchants: []\n", "more than one YAML document"},
		"broken YAML":                     {"merchants: [\n", "line"},
		"a key that reads as an alias":    {"merchants:\n- mch_id: a\n  key: *secretsecret\n", "unknown anchor (not shown)"},
		"a list of itself":                {"merchants: &m [*m]\n", "must be a mapping"},
		"not UTF-8":                       {"merchants: \xff\n", "UTF-8"},
		"an alias of a merchant is read":  {"merchants:\n- &a {mch_id: a, key: b}\n- *a\n", "is there already"},
		"a host that is an alias is read": {"merchants:\n- {mch_id: a, key: b, hosts: [&h https://x]}\n- {mch_id: b, key: b, hosts: [*h]}\n", ""},
	} {
		t.Run(sentence, func(t *testing.T) {
			_, err := ParseMerchants([]byte(tt.in), ".")
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secretsecret") {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestMerchantsShowNoKey(t *testing.T) {
	m := direct(t)
	set, err := NewMerchantMap(m)
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(Config{Merchants: set})
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		for _, v := range []any{m, set, c, &m} {
			if s := fmt.Sprintf(verb, v); strings.Contains(s, testKey) {
				t.Errorf("%s of %T shows the key", verb, v)
			}
		}
	}
}

func TestNewMerchantMapNamesEveryMistake(t *testing.T) {
	key := mustKey(t, testKey)
	_, err := NewMerchantMap(
		Merchant{MchID: "a", Keys: []signing.Key{key}},
		Merchant{MchID: "a", Keys: []signing.Key{{}}},
		Merchant{MchID: "b", SignType: "SHA1", Rate: -1, Hosts: []string{"x"}, SubAppID: "s"},
		Merchant{AppID: strings.Repeat("x", 33), Keys: []signing.Key{key}},
	)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"merchant a is there twice", `merchant "a": key 1 of 1 is empty`, `merchant "b": there is no key`,
		`merchant "b": sign_type`, `merchant "b": rate`, `merchant "b": host "x"`, `merchant "b": sub_mch_id`,
		`merchant "": mch_id is missing`, `merchant "": appid has 33 bytes, at most 32 are allowed`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("does not say %q:\n%v", want, err)
		}
	}
}

func FuzzParseMerchants(f *testing.F) {
	for _, name := range []string{"good.yaml", "bad.yaml"} {
		data, err := os.ReadFile(filepath.Join(merchantsDir, name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p := merchantsParser{
			readFile: func(string) ([]byte, error) { return nil, errors.New("no files here") },
			getenv:   func(string) (string, bool) { return "", false },
		}
		list, err := p.parse(data)
		if err != nil {
			return
		}
		if len(list) == 0 {
			t.Fatal("neither merchants nor an error")
		}
		if _, err := NewMerchantMap(list...); err != nil {
			t.Fatalf("took what does not pass as a set: %v", err)
		}
		if slices.ContainsFunc(list, func(m Merchant) bool { return len(m.Keys) == 0 }) {
			t.Fatal("a merchant without a key")
		}
	})
}
