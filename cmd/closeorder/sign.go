package main

import (
	"fmt"

	"github.com/closeorder/closeorder/signing"
	"github.com/spf13/cobra"
)

func (a *app) signCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "sign (--key KEY | --key-env NAME | --key-file FILE) (FIELD=VALUE... | FILE)",
		Short:   "Signs fields or an XML file as WeChat Pay V2 does",
		GroupID: "tool",
		Long: `Prints the signature of the given fields, or of those of an XML file ("-" is
standard input), and nothing else. The field sign and empty fields are left
out, as the protocol wants it.

--explain shows the exact string that is signed, the key masked: what to
compare when the gateway says "signature error".`,
		Example: `closeorder sign --key-env WECHAT_KEY appid=wxd930ea5d5a258f4f mch_id=10000100 nonce_str=ibuaiVcKdpRxkhJA
closeorder sign --key-file wechat.key --type HMAC-SHA256 --explain request.xml`,
	}
	flags := signatureFlags(cmd, "print the string that is signed to standard error, the key masked")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		in, err := a.signatureInput(flags, args)
		if err != nil {
			return err
		}
		if *flags.explain {
			fmt.Fprintln(a.stderr, signing.Explain(in.fields))
		}
		fmt.Fprintln(a.stdout, signing.Sign(in.fields, in.key, in.kind))
		return nil
	}
	return cmd
}
