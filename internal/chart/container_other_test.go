//go:build !linux

package chart

const containerVariable = "CLOSEORDER_TEST_CONTAINER"

func container() { panic("containers are Linux's") }
