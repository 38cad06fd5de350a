package main

import (
	"errors"
	"fmt"

	"github.com/closeorder/closeorder/signing"
	"github.com/spf13/cobra"
)

func (a *app) verifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "verify (--key KEY | --key-env NAME | --key-file FILE) (FILE | FIELD=VALUE...)",
		Short:   "Checks the signature of an XML file or of fields",
		GroupID: "tool",
		Long: `Checks the field sign of a request or reply: an XML file ("-" is standard
input), or fields. Exit code 0: it is valid; 1: it is not, and why.

The algorithm is --type, else the field sign_type, else MD5. It is never taken
from the look of the signature.`,
		Example: "closeorder verify --key-env WECHAT_KEY reply.xml",
	}
	flags := signatureFlags(cmd, "print the string that must be signed, the key masked")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		in, err := a.signatureInput(flags, args)
		if err != nil {
			return err
		}
		if *flags.explain {
			fmt.Fprintln(a.stdout, signing.Explain(in.fields))
		}
		err = signing.Verify(in.fields, in.key, in.kind)
		if err == nil {
			fmt.Fprintf(a.stdout, "valid %s signature\n", in.kind)
			return nil
		}
		fmt.Fprintf(a.stdout, "not valid: %v\n", err)
		switch {
		case errors.Is(err, signing.ErrType):
			fmt.Fprintln(a.stdout, "Choose the algorithm with --type MD5 or --type HMAC-SHA256.")
		case errors.Is(err, signing.ErrMismatch):
			fmt.Fprintln(a.stdout, "Another key, or other values than those that were signed; --explain shows the string to compare.")
		}
		return errBadNews
	}
	return cmd
}
