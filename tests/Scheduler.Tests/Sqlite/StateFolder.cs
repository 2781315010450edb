using Dapper;
using Microsoft.Data.Sqlite;
using Scheduler.Hosting;
using Scheduler.Locking;
using Scheduler.Runs;
using Scheduler.Sqlite.State;
using Scheduler.Testing;

namespace Scheduler.Tests.Sqlite;

/// <summary>A temporary folder with a State file in it, and States that use it. Removed at the end.</summary>
internal sealed class StateFolder : IAsyncDisposable
{
    public static readonly DateTimeOffset Noon = new(2026, 1, 31, 12, 0, 0, TimeSpan.Zero);
    public static readonly LockKey Key = LockKey.From("job:settle");

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("sqlite-state-");
    private readonly List<SqliteState> _states = [];

    public FakeTime Time { get; } = new();

    public LogCapture Log { get; } = new();

    public string Folder => _folder.FullName;

    public string File => Path.Combine(Folder, "data", "state.db");

    public SqliteState State(string? file = null, string options = "", TimeProvider? time = null, string? mountInfoFile = null)
    {
        var context = new BackendContext("test", ReplicaIdentity.Create("replica"), new LeaseOptions(), time ?? Time, Log);
        var state = new SqliteState(context, $"Data Source={file ?? File}{options}", mountInfoFile);
        _states.Add(state);
        return state;
    }

    public async Task<SqliteState> OpenAsync(TimeProvider? time = null)
    {
        var state = State(time: time);
        await state.OpenAsync(TestContext.Current.CancellationToken);
        return state;
    }

    public static ClaimRequest Claim(int minute, long token = 1, string replica = "r1", string trigger = "nightly", LockKey? key = null) =>
        new()
        {
            Occurrence = new Occurrence("settle", trigger, Noon.AddMinutes(minute)),
            LockKey = key ?? Key,
            Token = new FencingToken(token),
            Replica = replica,
            Now = Noon,
        };

    public static Completion Succeeded(RunRecord run) =>
        new()
        {
            RunId = run.Id,
            Attempt = run.Attempt,
            Token = run.Token,
            Outcome = RunOutcome.Succeeded,
            Now = Noon.AddSeconds(1),
        };

    /// <summary>Asks the file itself, beside the State.</summary>
    public List<T> Query<T>(string sql, string? file = null)
    {
        SQLitePCL.Batteries_V2.Init();
        using var connection = new SqliteConnection($"Data Source={file ?? File};Pooling=False");
        connection.Open();
        return connection.Query<T>(sql).AsList();
    }

    public long Runs() => Query<long>("SELECT count(*) FROM runs")[0];

    public async ValueTask DisposeAsync()
    {
        foreach (var state in _states)
        {
            await state.DisposeAsync();
        }
        _folder.Delete(recursive: true);
    }
}
