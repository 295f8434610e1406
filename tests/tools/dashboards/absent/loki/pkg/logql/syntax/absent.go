// Package syntax stands for Loki's parser, which the linter asks about queries of Loki only. It refuses every query.
package syntax

import (
	"errors"
	"time"
)

type Expr any

type (
	LogRangeExpr struct {
		Left     Expr
		Interval time.Duration
	}
	BinOpExpr             struct{ SampleExpr, RHS Expr }
	RangeAggregationExpr  struct{ Left Expr }
	VectorAggregationExpr struct{ Left Expr }
	LabelReplaceExpr      struct{ Left Expr }
	PipelineExpr          struct {
		Left        Expr
		MultiStages []Expr
	}
)

func ParseExpr(string) (Expr, error) {
	return nil, errors.New("this build of the linter does not know queries of Loki")
}
