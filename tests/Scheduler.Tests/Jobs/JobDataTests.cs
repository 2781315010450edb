using FsCheck;
using FsCheck.Fluent;
using Quartz;
using Scheduler.Jobs;

namespace Scheduler.Tests.Jobs;

/// <summary>A body that goes on elsewhere sees the same data, with the same types.</summary>
public sealed class JobDataTests
{
    [Fact]
    public void DataComeBackWithTheirTypes() =>
        Prop.ForAll<int, decimal, string>(
                (i, m, s) =>
                {
                    var l = (long)i * int.MaxValue;
                    var data = new JobDataMap
                    {
                        ["int"] = i,
                        ["long"] = l,
                        ["smallLong"] = (long)i,
                        ["decimal"] = m,
                        ["double"] = i / 3.0,
                        ["wholeDouble"] = (double)i,
                        ["bool"] = i % 2 == 0,
                        ["text"] = s,
                        ["null"] = null,
                    };
                    var back = QuartzNames.FromJson(QuartzNames.ToJson(data));
                    Assert.Equal(data.OrderBy(p => p.Key, StringComparer.Ordinal), back.OrderBy(p => p.Key, StringComparer.Ordinal));
                    Assert.Equal(i, back.GetInt("int"));
                }
            )
            .QuickCheckThrowOnFailure();

    [Theory]
    [InlineData(double.NaN)]
    [InlineData(double.PositiveInfinity)]
    [InlineData(double.MaxValue)]
    [InlineData(double.Epsilon)]
    public void DoublesAtTheEdgesComeBack(double value)
    {
        var back = QuartzNames.FromJson(QuartzNames.ToJson(new JobDataMap { ["d"] = value }));

        Assert.Equal(value, back["d"]);
    }

    [Fact]
    public void PlainNumbersOfAnotherWriterAreNumbers()
    {
        var map = QuartzNames.FromJson("""{"n":7,"big":5000000000,"f":0.5,"t":"x","b":true,"none":null}""");

        Assert.Equal(7, map["n"]);
        Assert.Equal(5_000_000_000L, map["big"]);
        Assert.Equal(0.5, map["f"]);
        Assert.Null(map["none"]);
    }

    [Fact]
    public void WhatAnotherReplicaCannotReadIsRefusedByName()
    {
        var refused = Assert.Throws<JobExecutionException>(() => QuartzNames.ToJson(new JobDataMap { ["thing"] = new object() }));

        Assert.Contains("'thing'", refused.Message);
    }
}
