package closer

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// maxMerchantsFile bounds what is read of a merchants file and of a key file:
// a path to the wrong thing must not fill the memory.
const maxMerchantsFile = 16 << 20

// LoadMerchants reads a file of merchants, in the order of the file. The
// error names every mistake with its line; it never shows a key.
//
//	merchants:
//	  - mch_id: "1900000109"
//	    appid: wx8888888888888888      # default for orders that bring none
//	    key_file: keys/1900000109      # or key, or key_env
//	    next_key_env: NEXT_KEY         # a second key while the key is changed
//	    sign_type: HMAC-SHA256         # default MD5
//	    rate: 100                      # calls per second, default the worker's
//	    hosts: [https://api.mch.weixin.qq.com]
//	  - mch_id: "1900000111"
//	    mode: institution              # default direct
//	    key_env: KEY_1900000111
//	    sub_mch_id: "1900000112"       # defaults for orders that bring none
//	    sub_appid: wx1234567890123456
//
// A relative key_file is taken from the folder of the merchants file. White
// space at the end of a key file is dropped, so that an editor's newline does
// no harm.
//
// What several merchants have in common can be written once and merged
// (<<: *name); a field of their own wins, and is switched off with null.
//
//	x-institution: &institution        # any name that begins with x-
//	  mode: institution
//	  sign_type: HMAC-SHA256
//	merchants:
//	  - <<: *institution
//	    mch_id: "1900000111"
//	    key_env: KEY_1900000111
//
// While a key is being changed both stand in the file: calls are signed with
// next_key first and, as long as the gateway refuses that, with key; replies
// count under either. When the change is through, next_key becomes key.
func LoadMerchants(path string) ([]Merchant, error) {
	list, _, err := loadMerchants(path)
	return list, err
}

// ParseMerchants is LoadMerchants for a file that is already in memory. dir
// is the folder that a relative key_file is taken from.
func ParseMerchants(data []byte, dir string) ([]Merchant, error) {
	p := merchantsParser{dir: dir, readFile: readBounded, getenv: os.LookupEnv}
	return p.parse(data)
}

// loadMerchants also returns everything that was read, so that a change can
// be told from a touch.
func loadMerchants(path string) ([]Merchant, *fingerprint, error) {
	seen := newFingerprint()
	data, err := seen.read(path)
	if err != nil {
		return nil, seen, fmt.Errorf("merchants file: %w", err)
	}
	p := merchantsParser{dir: filepath.Dir(path), readFile: seen.read, getenv: os.LookupEnv}
	list, err := p.parse(data)
	if err != nil {
		return nil, seen, fmt.Errorf("merchants file %s: %w", path, err)
	}
	return list, seen, nil
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxMerchantsFile+1))
	if err == nil && len(data) > maxMerchantsFile {
		err = fmt.Errorf("%s is longer than %d bytes", path, maxMerchantsFile)
	}
	return data, err
}
