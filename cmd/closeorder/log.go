package main

import (
	"github.com/closeorder/closeorder/internal/config"
	"github.com/sirupsen/logrus"
)

// logger writes to standard error; standard output is for what was asked for.
func (a *app) logger(cfg config.Log) *logrus.Logger {
	log := logrus.New()
	log.SetOutput(a.stderr)
	if cfg.Format == "json" {
		log.SetFormatter(&logrus.JSONFormatter{})
	} else {
		log.SetFormatter(&logrus.TextFormatter{FullTimestamp: true, DisableColors: !bool(a.paint(a.stderr))})
	}
	if level, err := logrus.ParseLevel(cfg.Level); err == nil { // config has checked it
		log.SetLevel(level)
	}
	return log
}
