package merchants

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/signing"
)

const testKey = "192006250b4c09247ec02edce69f6a2d"

func mustKey(t testing.TB, text string) signing.Key {
	t.Helper()
	k, err := signing.NewKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// isKey reports whether k signs as the key with the given text.
func isKey(k signing.Key, text string) bool {
	want, err := signing.NewKey(text)
	fields := map[string]string{"a": "b"}
	return err == nil && signing.Sign(fields, k, signing.MD5) == signing.Sign(fields, want, signing.MD5)
}

// parse reads a file that is in memory.
func parse(data []byte, dir string) ([]closer.Merchant, error) {
	p := parser{dir: dir, readFile: readBounded, getenv: os.LookupEnv}
	return p.parse(data)
}

var merchantsDir = filepath.Join("..", "..", "testdata", "merchants")

func TestOpen(t *testing.T) {
	const inEnv, nextInEnv = "11111111111111111111111111111111", "22222222222222222222222222222222"
	t.Setenv("CLOSEORDER_TEST_KEY", inEnv)
	t.Setenv("CLOSEORDER_TEST_NEXT_KEY", nextInEnv)
	f, err := Open(filepath.Join(merchantsDir, "good.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	got := f.All()
	want := []closer.Merchant{
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
			if len(m.Keys) != len(keys[i]) || !isKey(m.Keys[j], k) {
				t.Errorf("merchant %s: wrong keys", m.MchID)
			}
		}
		m.Keys = nil
		if fmt.Sprintf("%+v", m) != fmt.Sprintf("%+v", want[i]) {
			t.Errorf("got  %+v\nwant %+v", m, want[i])
		}
	}
}

func TestOpenWithMergeKeys(t *testing.T) {
	const inEnv, inFile = "11111111111111111111111111111111", "fedcba98765432100123456789abcdef"
	t.Setenv("CLOSEORDER_TEST_KEY", inEnv)
	f, err := Open(filepath.Join(merchantsDir, "merged.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	got := f.All()
	want := []closer.Merchant{
		{MchID: "1900000109", AppID: "wx8888888888888888", SignType: signing.HMACSHA256, Rate: 50,
			Hosts: []string{"https://api.mch.weixin.qq.com/xdc/apiv2sandbox"}},
		{MchID: "1900000111", AppID: "wx8888888888888888", SignType: signing.MD5, Rate: 20, Institution: true, SubMchID: "1900000112",
			Hosts: []string{"https://api.mch.weixin.qq.com/xdc/apiv2sandbox"}},
		{MchID: "1900000113", AppID: "wx8888888888888888", SignType: signing.HMACSHA256},
		{MchID: "1900000114", AppID: "wx8888888888888888", SignType: signing.HMACSHA256, Rate: 20, Institution: true, SubMchID: "1900000112"},
	}
	if len(got) != len(want) {
		t.Fatalf("got %d merchants", len(got))
	}
	for i, key := range []string{testKey, inEnv, testKey, inFile} {
		if m := got[i]; len(m.Keys) != 1 || !isKey(m.Keys[0], key) {
			t.Errorf("merchant %s: wrong keys", m.MchID)
		}
		got[i].Keys = nil
		if fmt.Sprintf("%+v", got[i]) != fmt.Sprintf("%+v", want[i]) {
			t.Errorf("got  %+v\nwant %+v", got[i], want[i])
		}
	}
}

func TestMistakesInWhatIsMergedAreNamedOnceWithTheirLine(t *testing.T) {
	for sentence, tt := range map[string]struct{ in, want string }{
		"a value that is merged twice": {
			"d: &d {sign_type: SHA1, key: k}\nmerchants:\n- {<<: *d, mch_id: 1}\n- {<<: *d, mch_id: 2}\n",
			`line 1: sign_type: unknown sign type "SHA1", want MD5 or HMAC-SHA256`},
		"a name": {
			"d: &d {colour: red, key: k}\nmerchants:\n- {<<: *d, mch_id: 1}\n- {<<: *d, mch_id: 2}\n",
			"line 1: colour is not a known name here"},
		"a mch_id that two merge": {
			"d: &d {mch_id: 1, key: k}\nmerchants:\n- {<<: *d}\n- {<<: *d}\n",
			"line 1: merchant 1 is there already, in line 1"},
		"a number for an id": {
			"d: &d {sub_mch_id: 0x71, mode: institution, key: k}\nmerchants:\n- {<<: *d, mch_id: 1}\n",
			"line 1: sub_mch_id must be in quotes"},
		"a key beside one that is merged": {
			"d: &d {key_env: E}\nmerchants:\n- <<: *d\n  mch_id: 1\n  key: secretsecret\n",
			"line 5: key and key_env are both there: key_env is merged from line 1, switch it off with key_env: null"},
		"a merge key beside the list": {
			"d: &d {a: 1}\n<<: *d\nmerchants:\n- {mch_id: 1, key: k}\n", "line 1: a is not a known name here"},
		"a list of merchants by a merge key is read": {
			"d: &d {merchants: [{mch_id: 1, key: k}]}\n<<: *d\n", ""},
		"what nobody merges is an unknown name": {
			"defaults: &d {a: 1}\nmerchants:\n- {mch_id: 1, key: k}\n", "line 1: defaults is not a known name here"},
		"a merge of a text": {
			"x-d: &d text\nmerchants:\n- {<<: *d, mch_id: 1, key: k}\n", "line 3: << merges a mapping"},
		"a merge of itself": {
			"merchants:\n- &m {<<: *m, mch_id: 1, key: k}\n", "line 2: the mapping is merged into itself"},
		"a field twice beside a merge": {
			"x-d: &d {key: k}\nmerchants:\n- {<<: *d, mch_id: 1, mch_id: 2}\n", "line 3: mch_id is there twice"},
		"quotes within quotes": {
			"merchants:\n- {mch_id: \"'1'\", key: k}\n", "line 2: mch_id has quotes in its value"},
		"a key with quotes": {
			"merchants:\n- {mch_id: 1, key: '\"secretsecret\"'}\n", "line 2: key has quotes in its value"},
		"a key in the place of its variable": {
			"merchants:\n- {mch_id: 1, key_env: secretsecret00000000000000000000}\n", "line 2: key_env: there is no such variable; this looks like a key itself"},
		"a key in the place of its file": {
			"merchants:\n- {mch_id: 1, key_file: secretsecret00000000000000000000}\n", "line 2: key_file: there is no such file; this looks like a key itself"},
		"a key in the place of mch_id": {
			"merchants:\n- {mch_id: secretsecret00000000000000000000}\n", "line 2: merchant \"(not shown: it looks like an API key)\" has no key"},
		"a name in another spelling": {"merchants:\n- {mch_id: 1, key: k, signType: MD5}\n", "line 2: signType is not a known name here; did you mean sign_type?"},
		"merchants by their ids":     {"merchants: {\"1\": {key: k}}\n", "line 1: merchants must be a list: write its entries below it"},
		"a list alone":               {"- {mch_id: 1, key: k}\n", "line 1: the file must be a mapping of names to values; write merchants: above the list"},
		"a rate that is none":        {"merchants:\n- {mch_id: 1, key: k, rate: inf}\n", "line 2: rate must be a number"},
		"a rate of zero":             {"merchants:\n- {mch_id: 1, key: k, rate: 0}\n", "line 2: rate must be a number"},
		"no single rate":             {"merchants:\n- {mch_id: 1, key: k, rate: [1]}\n", "line 2: rate must be a single value"},
		"a host twice":               {"merchants:\n- {mch_id: 1, key: k, hosts: [https://a, https://a/]}\n", "line 2: host \"https://a/\" is there twice"},
	} {
		_, err := parse([]byte(tt.in), ".")
		got := fmt.Sprint(err)
		if (err == nil) != (tt.want == "") || !strings.HasPrefix(got, tt.want) && tt.want != "" || strings.Contains(got, "\n") || strings.Contains(got, "secretsecret") {
			t.Errorf("%s: %v, want %q alone", sentence, err, tt.want)
		}
	}
}

func TestKeysAreReadAsEditorsAndShellsLeaveThem(t *testing.T) {
	for sentence, tt := range map[string]struct{ file, env, want string }{
		"a file with a byte order mark and CRLF": {file: "\ufeffsecretsecret\r\n"},
		"a file in quotes":                       {file: "\"secretsecret\"\n", want: "line 2: key_file: API key is in quotes"},
		"a file of UTF-16":                       {file: "\xff\xfes\x00", want: "line 2: key_file: API key is not valid UTF-8, but UTF-16"},
		"a variable in quotes":                   {env: "'secretsecret'", want: "line 2: key_env: API key is in quotes"},
		"a variable with a line break":           {env: "secretsecret\n", want: "line 2: key_env: API key has white space at byte 13 of 13: it ends with a line break"},
		"a variable set to nothing":              {env: "", want: "line 2: key_env: the variable K is there, but empty"},
	} {
		p := parser{
			readFile: func(string) ([]byte, error) { return []byte(tt.file), nil },
			getenv:   func(string) (string, bool) { return tt.env, true },
		}
		source := "key_env"
		if tt.file != "" {
			source = "key_file"
		}
		_, err := p.parse([]byte("merchants:\n- {mch_id: 1, " + source + ": K}\n"))
		if (err == nil) != (tt.want == "") || err != nil && (!strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s: %v, want %q", sentence, err, tt.want)
		}
	}
}

func TestFileNamesEveryMistake(t *testing.T) {
	_, err := Open(filepath.Join(merchantsDir, "bad.yaml"))
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
		"line 25: merchant is not a known name here; did you mean merchants?",
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

func TestParseAsAWhole(t *testing.T) {
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
			_, err := parse([]byte(tt.in), ".")
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
	m := closer.Merchant{MchID: "1900000109", AppID: "wx8888888888888888", Keys: []signing.Key{mustKey(t, testKey)}}
	set := ByID([]closer.Merchant{m})
	c, err := closer.New(closer.Config{Merchants: set})
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

func FuzzParseMerchants(f *testing.F) {
	for _, name := range []string{"good.yaml", "bad.yaml", "merged.yaml"} {
		data, err := os.ReadFile(filepath.Join(merchantsDir, name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p := parser{
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
		if len(ByID(list)) != len(list) {
			t.Fatal("a merchant is there twice")
		}
		for _, m := range list {
			_, hosts := ParseHosts(m.Hosts)
			if CheckMchID(m.MchID) != nil || len(m.Keys) == 0 || m.Keys[0].IsZero() || len(hosts) > 0 || !m.Institution && m.SubMchID+m.SubAppID != "" {
				t.Fatalf("took %+v", m)
			}
		}
	})
}
