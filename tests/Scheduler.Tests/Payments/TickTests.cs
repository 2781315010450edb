using System.Text.Json;
using Payments.Jobs.Demo;
using Scheduler.Locking;
using Scheduler.Runs;
using Scheduler.Testing;

namespace Scheduler.Tests.Payments;

public sealed class TickTests : IDisposable
{
    private static readonly TimeSpan Bound = TimeSpan.FromSeconds(20);
    private readonly string _root = Directory.CreateTempSubdirectory("tick-").FullName;
    private readonly FakeTime _time = new();

    private string FilePath => Path.Combine(_root, "sub", "ticks.jsonl");

    public void Dispose() => Directory.Delete(_root, recursive: true);

    [Fact]
    public async Task A_line_says_what_ran_where_and_when()
    {
        await new Tick(_time).RunAsync(new FakeRun(), new TickInput(FilePath), CancellationToken.None);

        var line = Assert.Single(Lines());
        Assert.Equal("tick/second@2026-01-31T10:15:00.000Z", line.GetProperty("occurrence").GetString());
        Assert.Equal(2, line.GetProperty("attempt").GetInt32());
        Assert.Equal("1769854500000000", line.GetProperty("token").GetString());
        Assert.Equal("a-1", line.GetProperty("replica").GetString());
        Assert.Equal("done", line.GetProperty("outcome").GetString());
        Assert.InRange(line.GetProperty("begin").GetInt64(), 1, line.GetProperty("end").GetInt64());
    }

    [Fact]
    public async Task Its_token_ends_it_and_the_line_says_so()
    {
        using var cancel = new CancellationTokenSource();
        var input = new TickInput(FilePath, TimeSpan.FromSeconds(3), Announce: true);
        var running = new Tick(_time).RunAsync(new FakeRun(), input, cancel.Token).AsTask();
        Assert.False(running.IsCompleted);

        await cancel.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running.WaitAsync(Bound));
        Assert.Equal(["begun", "told", "cancelled"], Lines().Select(l => l.GetProperty("outcome").GetString()!));
    }

    [Fact]
    public async Task On_request_it_ignores_its_token_and_works_to_the_end()
    {
        using var cancel = new CancellationTokenSource();
        var input = new TickInput(FilePath, TimeSpan.FromSeconds(3), IgnoreCancellation: true);
        var running = new Tick(_time).RunAsync(new FakeRun(), input, cancel.Token).AsTask();
        await cancel.CancelAsync();
        Assert.False(running.IsCompleted);

        _time.Advance(TimeSpan.FromSeconds(3));
        await running.WaitAsync(Bound);

        Assert.Equal("done", Assert.Single(Lines()).GetProperty("outcome").GetString());
    }

    [Fact]
    public async Task Lines_of_many_writers_never_mix()
    {
        var input = new TickInput(FilePath);
        await Task.WhenAll(
            Enumerable
                .Range(0, 8)
                .Select(_ =>
                    Task.Run(async () =>
                    {
                        for (var i = 0; i < 100; i++)
                        {
                            await new Tick(_time).RunAsync(new FakeRun(), input, CancellationToken.None);
                        }
                    })
                )
        );

        Assert.Equal(800, Lines().Count);
    }

    [Theory]
    [InlineData("work", "soon", "data 'work' is 'soon'")]
    [InlineData("work", "-1", "data 'work' is '-1'")]
    [InlineData("ignoreCancellation", "yes", "data 'ignoreCancellation' is 'yes'")]
    [InlineData("file", "", "data 'file' is missing")]
    public void Wrong_data_is_named_with_job_key_and_value(string key, string value, string message)
    {
        var data = new Dictionary<string, object?> { ["file"] = "x", [key] = value };

        var error = Assert.Throws<ArgumentException>(() => TickInput.Read("tick", data.GetValueOrDefault));

        Assert.Contains($"Job 'tick': {message}", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Data_may_be_text_or_typed()
    {
        var text = new Dictionary<string, object?>
        {
            ["file"] = "x",
            ["work"] = "3000",
            ["ignoreCancellation"] = "True",
        };
        var typed = new Dictionary<string, object?>
        {
            ["file"] = "x",
            ["work"] = 3000,
            ["ignoreCancellation"] = true,
        };

        var expected = new TickInput("x", TimeSpan.FromSeconds(3), IgnoreCancellation: true);
        Assert.Equal(expected, TickInput.Read("tick", text.GetValueOrDefault));
        Assert.Equal(expected, TickInput.Read("tick", typed.GetValueOrDefault));
    }

    private List<JsonElement> Lines() => [.. File.ReadLines(FilePath).Select(l => JsonDocument.Parse(l).RootElement)];

    private sealed class FakeRun : IRun
    {
        public string Id => "run-1";
        public Occurrence Occurrence => new("tick", "second", new DateTimeOffset(2026, 1, 31, 10, 15, 0, TimeSpan.Zero));
        public int Attempt => 2;
        public LockKey LockKey => LockKey.From("job:tick");
        public FencingToken Token => new(1769854500000000);
        public string Replica => "a-1";
        public CancellationToken Stopping => CancellationToken.None;
        public CancellationToken Lost => CancellationToken.None;
        public bool IsHeld => true;
        public CancelReason CancelReason => CancelReason.None;

        public void ThrowIfLost() { }

        public void Complete() { }
    }
}
