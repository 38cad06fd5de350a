package main

import (
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/worker"
	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
)

func (a *app) runCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "run", Short: "Runs the worker", GroupID: "work", Args: noArgs,
		Long: `Serves close requests until SIGTERM or SIGINT. Then no call is started any more,
those in flight get --shutdown-grace to finish, their outcomes are published and
committed, and the group is left at once. A second signal ends it on the spot:
nothing is lost by that, only done again.`,
		Example: `CLOSEORDER_API_KEY=... closeorder run --mch-id 1900000109 --appid wx8888888888888888 --kafka-brokers kafka-1:9092
closeorder run --config closeorder.yaml`,
	}
	settings := a.settings(cmd, config.Everything())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := settings.load()
		if err != nil {
			return err
		}
		log := a.logger(cfg.Log)
		for _, warning := range cfg.Warnings {
			log.Warn(warning)
		}
		w, err := worker.New(cfg, worker.Deps{Log: log})
		if err != nil {
			return err
		}
		log.WithFields(logrus.Fields{
			"brokers": cfg.Kafka.Brokers, "group": cfg.Kafka.Group, "requests": cfg.Topics.Requests,
			"outcomes": cfg.Topics.Outcomes, "gateway": cfg.Gateway.URLs, "merchants": len(cfg.Merchants),
			"max_in_flight": cfg.MaxInFlight, "version": builtFrom().Version,
		}).Info("starting")
		if err := w.Run(cmd.Context()); err != nil {
			return err
		}
		log.Info("stopped: everything that was finished is published and committed")
		return nil
	}
	return cmd
}
