package closer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/closeorder/closeorder/signing"
)

// replyFile is one case of testdata/closer/replies; the README there tells
// how to add one.
type replyFile struct {
	name string
	body []byte

	Why    string                       `json:"-"` // one sentence: what is special about it
	Status int                          `json:"-"` // of the HTTP response
	Expect struct{ Class, Code string } `json:"-"`

	// What was asked for, which is not what the reply says.
	Call       Call   `json:"call"`
	SignType   string `json:"sign_type"`
	MchID      string `json:"mch_id"`
	AppID      string `json:"appid"`
	SubMchID   string `json:"sub_mch_id"`
	OutTradeNo string `json:"out_trade_no"`
}

func replyFiles(t testing.TB) []replyFile {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("..", "testdata", "closer", "replies", "*.txtar"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no replies in testdata/closer/replies (%v)", err)
	}
	var files []replyFile
	for _, path := range paths {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := newReplyFile(archive)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		f.name = strings.TrimSuffix(filepath.Base(path), ".txtar")
		files = append(files, f)
	}
	return files
}

func newReplyFile(a *txtar.Archive) (replyFile, error) {
	f := replyFile{
		Why:  strings.TrimSpace(string(a.Comment)),
		Call: CallClose, MchID: "1900000109", AppID: "wx8888888888888888", OutTradeNo: "20260102T1",
	}
	for _, part := range a.Files {
		name, status, _ := strings.Cut(part.Name, " ")
		switch name {
		case "request.json":
			dec := json.NewDecoder(bytes.NewReader(part.Data))
			dec.DisallowUnknownFields()
			if err := dec.Decode(&f); err != nil {
				return f, fmt.Errorf("request.json: %w", err)
			}
		case "reply":
			// An archive ends each part with a line end; that one is not the reply's.
			f.body = bytes.TrimSuffix(part.Data, []byte("\n"))
			f.Status = http.StatusOK
			if status != "" {
				var err error
				if f.Status, err = strconv.Atoi(status); err != nil {
					return f, fmt.Errorf("the status of the reply: %w", err)
				}
			}
		case "verdict":
			f.Expect.Class, f.Expect.Code, _ = strings.Cut(strings.TrimSpace(string(part.Data)), " ")
		default:
			return f, fmt.Errorf("it has a part %q; there are request.json, reply and verdict", part.Name)
		}
	}
	if f.Why == "" || f.Status == 0 || f.Expect.Class == "" {
		return f, errors.New("it needs a sentence at its head, a reply and a verdict")
	}
	return f, nil
}

func (f replyFile) merchant(t testing.TB) Merchant {
	return Merchant{
		MchID: f.MchID, AppID: f.AppID, Institution: f.SubMchID != "", SubMchID: f.SubMchID,
		Keys: []signing.Key{mustKey(t, testKey)}, SignType: signing.Type(f.SignType),
	}
}

// Each reply, over HTTP, comes to what its file says.
func TestReplyFiles(t *testing.T) {
	files := replyFiles(t)
	var current replyFile
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain;charset=utf-8")
		if current.Status == http.StatusFound {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(current.Status)
		w.Write(current.body)
	}))
	defer srv.Close()
	for _, f := range files {
		t.Run(f.name, func(t *testing.T) {
			current = f
			m := f.merchant(t)
			c, err := New(Config{Hosts: []string{srv.URL}, Merchants: MerchantMap{m.MchID: m}})
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseIdleConnections()
			o := Order{MchID: f.MchID, OutTradeNo: f.OutTradeNo}
			r, v := c.begin(t.Context(), o)
			if r == nil {
				t.Fatal(v)
			}
			r.pace.deadline = time.Now().Add(time.Minute)
			if f.Call == CallQuery {
				r.query(1)
			} else {
				r.close()
			}
			if got := r.pending; got.Class.String() != f.Expect.Class || got.Code != f.Expect.Code {
				t.Errorf("%s\ngot  %v %s (%s: %v)\nwant %s %s", f.Why, got.Class, got.Code, got.Reason, got.Err, f.Expect.Class, f.Expect.Code)
			}
		})
	}
}

// A gateway that always gives the same reply, to closes and queries alike,
// talks nobody into closed or paid unless the reply proves it.
func TestReplyFilesAsTheOnlyAnswer(t *testing.T) {
	for _, f := range replyFiles(t) {
		t.Run(f.name, func(t *testing.T) {
			answer := func(c call, _ int) reply {
				if c.call != f.Call {
					return code("SYSTEMERROR")
				}
				return reply{raw: string(f.body), status: f.Status}
			}
			change := func(_ *Config, g *gateway) { g.m = f.merchant(t) }
			inBubble(t, answer, change, func(t *testing.T, c *Closer, _ *gateway) {
				o := Order{MchID: f.MchID, OutTradeNo: f.OutTradeNo, CreatedAt: time.Now().Add(-time.Hour)}
				v := c.Close(t.Context(), o)
				proven := f.Expect.Class == "closed" || f.Expect.Class == "paid" || f.name == "query-ordernotexist"
				if got := v.Class == Closed || v.Class == Paid; got != proven {
					t.Errorf("%s\ncame to %v %s: %s", f.Why, v.Class, v.Code, v.Message)
				}
				if f.Call == CallClose && f.Expect.Code != "" && v.Code != f.Expect.Code {
					t.Errorf("%s\nthe verdict says %s, not %s", f.Why, v.Code, f.Expect.Code)
				}
			})
		})
	}
}

// The documents of the public page read and write as they stand there.
func TestPublishedSamples(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "testdata", "closer", "samples", "closeorder-request.xml"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := ReadFields(data)
	if err != nil {
		t.Fatal(err)
	}
	want := requestFields(identity{appID: "wx2421b1c4370ec43b", mchID: "10000100", outTradeNo: "1415983244"}, signing.MD5, "4ca93f17ddf3443ceabf72f26d64fe0e")
	var ours bytes.Buffer
	appendXML(&ours, want, "59FF1DF214B2D279A0EA7077C54DD95D")
	again, err := ReadFields(ours.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for name := range got {
		if got[name] != again[name] || len(got) != len(again) {
			t.Errorf("the page sends %v, we send %v", got, again)
		}
	}
	data, err = os.ReadFile(filepath.Join("..", "testdata", "closer", "samples", "closeorder-reply.xml"))
	if err != nil {
		t.Fatal(err)
	}
	reply, err := ReadFields(data)
	if err != nil || reply["result_code"] != "SUCCESS" || reply["sign"] != "72B321D92A7BFA0B2509F3D13C7B1631" || len(reply) != 8 {
		t.Errorf("reply reads as %v, %v", reply, err)
	}
}
