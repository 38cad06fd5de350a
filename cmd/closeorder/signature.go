package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/internal/slips"
	"github.com/closeorder/closeorder/signing"
	"github.com/spf13/cobra"
)

// signature is what sign and verify are asked with.
type signature struct {
	key, keyEnv, keyFile, kind *string
	explain                    *bool
}

func signatureFlags(cmd *cobra.Command, explain string) signature {
	return signature{
		key:     cmd.Flags().String("key", "", "the API `KEY`; others on this machine can read it: prefer the next two"),
		keyEnv:  cmd.Flags().String("key-env", "", "environment variable `NAME` that holds the API key"),
		keyFile: cmd.Flags().String("key-file", "", "`FILE` that holds the API key"),
		kind:    cmd.Flags().String("type", "", "MD5 or HMAC-SHA256 (default: the field sign_type, else MD5)"),
		explain: cmd.Flags().Bool("explain", false, explain),
	}
}

type signatureInput struct {
	fields map[string]string
	key    signing.Key
	kind   signing.Type
}

func (a *app) signatureInput(f signature, args []string) (signatureInput, error) {
	var in signatureInput
	var err error
	if in.key, err = a.signatureKey(f); err != nil {
		return in, err
	}
	if in.fields, err = a.signatureFields(args); err != nil {
		return in, err
	}
	kind := *f.kind
	if kind == "" {
		kind = in.fields["sign_type"]
	}
	if in.kind, err = signing.ParseType(kind); err != nil {
		return in, usagef("%v", err)
	}
	return in, nil
}

func (a *app) signatureKey(f signature) (signing.Key, error) {
	text, given := *f.key, 0
	for _, s := range []string{*f.key, *f.keyEnv, *f.keyFile} {
		if s != "" {
			given++
		}
	}
	if given != 1 {
		return signing.Key{}, usagef("give the API key with one of --key-env, --key-file and --key")
	}
	if name := *f.keyEnv; name != "" {
		if text = a.getenv(name); text == "" {
			return signing.Key{}, usagef("--key-env: the environment variable %s is not set", nameOf(name))
		}
	}
	if name := *f.keyFile; name != "" {
		data, err := readKeyFile(name)
		if err != nil {
			if broken, ok := errors.AsType[*fs.PathError](err); ok {
				err = fmt.Errorf("%s: %w", nameOf(name), broken.Err)
			}
			return signing.Key{}, usagef("--key-file: %v", err)
		}
		key, err := signing.ReadKey(data)
		if err != nil {
			return signing.Key{}, usagef("--key-file: %s: %v", nameOf(name), err)
		}
		return key, nil
	}
	key, err := signing.NewKey(text)
	if err != nil {
		return signing.Key{}, usagef("%v", err)
	}
	return key, nil
}

// nameOf is a name for messages: not when it may be the key itself.
func nameOf(name string) string {
	if slips.LooksLikeKey(filepath.Base(name)) {
		return "(not shown: it looks like a key itself)"
	}
	return name
}

// readKeyFile reads a file that holds one key, and no more than that.
func readKeyFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const most = 4 << 10
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && len(data) > most {
		err = fmt.Errorf("%s is longer than %d bytes: it should hold one key alone", name, most)
	}
	return data, err
}

// signatureFields reads FIELD=VALUE arguments, or one XML file.
func (a *app) signatureFields(args []string) (map[string]string, error) {
	if len(args) == 0 {
		return nil, usagef("give fields as FIELD=VALUE, or one XML file")
	}
	if len(args) == 1 && !strings.Contains(args[0], "=") {
		return a.xmlFile(args[0])
	}
	fields := make(map[string]string, len(args))
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		if !ok || name == "" {
			return nil, usagef("%q is not FIELD=VALUE", arg)
		}
		if _, twice := fields[name]; twice {
			return nil, usagef("the field %s is given twice", name)
		}
		fields[name] = value
	}
	return fields, nil
}

func (a *app) xmlFile(name string) (map[string]string, error) {
	in, called, err := a.open(name)
	if err != nil {
		return nil, usagef("%v", err)
	}
	defer in.Close()
	data, err := io.ReadAll(io.LimitReader(in, closer.MaxDocument+1))
	if err != nil {
		return nil, usagef("%v", err)
	}
	fields, err := closer.ReadFields(data)
	if err != nil {
		return nil, fmt.Errorf("%s %w", called, err)
	}
	return fields, nil
}
