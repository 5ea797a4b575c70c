package main

import (
	"context"
	"os"

	"ringo/vmm/doctor"
)

type doctorCommand struct {
	JSON bool `name:"json" help:"Write the report as JSON."`
}

// Run is what kong calls. The status is 0 whatever the verdict: the examination succeeded.
func (c *doctorCommand) Run() error {
	report, err := doctor.Examine(context.Background())
	if err != nil {
		return err
	}
	if c.JSON {
		return report.WriteJSON(os.Stdout)
	}
	return report.WriteTable(os.Stdout)
}
