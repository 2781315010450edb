using System.Data.Common;
using System.Diagnostics;
using Npgsql;
using Scheduler.Inbox;
using Scheduler.Locking;
using Scheduler.Postgres.Fencing;
using Scheduler.Runs;
using Scheduler.Sqlite;
using Scheduler.Sqlite.Fencing;

namespace Scheduler.TestPeer;

/// <summary>One attempt at an event of an inbox, by a process that may die at a point of it.</summary>
internal static class EffectCommands
{
    private static readonly TimeSpan Hold = TimeSpan.FromSeconds(30);

    /// <summary>Takes the first due event, has its effect in the State's own database, and ends the event.</summary>
    /// <param name="place">A file of SQLite, or a connection string of PostgreSQL.</param>
    /// <param name="kind"><c>effect</c> or <c>call</c>; with <c>last-</c> before it the event ends with it.</param>
    /// <param name="calls">The service outside: a file with a line for each call that it had.</param>
    /// <param name="dieAt">Where the process kills itself.</param>
    public static async Task<int> AttemptAsync(string place, string kind, string calls, string dieAt)
    {
        await using var state = StateCommands.ConnectTo(place, "test", ReplicaIdentity.Create("peer"));
        await state.OpenAsync(CancellationToken.None);
        var claims = await state.Inbox.ClaimAsync(new("peer", [new("payments", "paid", false)], 1, Hold), CancellationToken.None);
        if (claims.Count == 0)
        {
            Console.WriteLine("nothing due");
            return 0;
        }
        var claimed = claims[0].Event;
        var end = new End(state, claimed, () => DieAsync("before the commit"));
        var effect = new Effect(
            new EffectKey(claimed.Source, claimed.DedupeKey!, "payment"),
            LockKey.From($"order:payments:{claimed.OrderKey}"),
            new FencingToken(claimed.Attempts)
        )
        {
            End = kind.StartsWith("last-", StringComparison.Ordinal) ? end : null,
        };
        var isNow = kind.EndsWith("call", StringComparison.Ordinal) ? await CallAsync() : await ApplyAsync();
        await DieAsync("after the commit");
        if (!end.IsCommitted)
        {
            await state.Inbox.FinishAsync([new(claimed.Id, claimed.Attempts, InboxState.Done)], CancellationToken.None);
        }
        Console.WriteLine($"attempt {claimed.Attempts} {(isNow ? "had it" : "found it")}");
        return 0;

        async ValueTask WorkAsync(DbConnection connection, DbTransaction transaction, CancellationToken cancellationToken)
        {
            await using var command = connection.CreateCommand();
            command.Transaction = transaction;
            command.CommandText = "INSERT INTO money VALUES (1)";
            await command.ExecuteNonQueryAsync(cancellationToken);
            await DieAsync("in the work");
        }

        async ValueTask AskAsync(EffectCall call, CancellationToken cancellationToken)
        {
            await DieAsync("before the call");
            await File.AppendAllTextAsync(calls, $"{call.IdempotencyKey} {call.MayHaveHappened}\n", cancellationToken);
            await DieAsync("after the call");
        }

        async Task<bool> ApplyAsync()
        {
            if (IsPostgres(place))
            {
                await using var database = NpgsqlDataSource.Create(place);
                return await PostgresEffect.ApplyAsync(database, effect, WorkAsync, CancellationToken.None);
            }
            await using var file = SqliteDatabase.Create($"Data Source={place}");
            return await SqliteEffect.ApplyAsync(file, effect, WorkAsync, CancellationToken.None);
        }

        async Task<bool> CallAsync()
        {
            if (IsPostgres(place))
            {
                await using var database = NpgsqlDataSource.Create(place);
                return await PostgresEffect.CallAsync(database, effect, AskAsync, CancellationToken.None);
            }
            await using var file = SqliteDatabase.Create($"Data Source={place}");
            return await SqliteEffect.CallAsync(file, effect, AskAsync, CancellationToken.None);
        }

        async ValueTask DieAsync(string point)
        {
            if (point == dieAt)
            {
                // SIGKILL: nothing is closed, rolled back or told to anybody.
                Process.GetCurrentProcess().Kill();
                await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System);
            }
        }
    }

    private static bool IsPostgres(string place) => place.Contains("Host=", StringComparison.Ordinal);

    private sealed class End(IState state, InboxEvent claimed, Func<ValueTask> written) : IEffectEnd
    {
        public bool IsCommitted { get; private set; }

        public async ValueTask<bool> WriteAsync(DbTransaction transaction, CancellationToken cancellationToken)
        {
            var isWritten = await state.Inbox.FinishWithinAsync(
                transaction,
                new(claimed.Id, claimed.Attempts, InboxState.Done),
                cancellationToken
            );
            await written();
            return isWritten;
        }

        public void Committed() => IsCommitted = true;
    }
}
