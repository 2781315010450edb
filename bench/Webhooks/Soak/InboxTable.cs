using System.Data.Common;
using Dapper;
using Microsoft.Data.Sqlite;
using Npgsql;
using Scheduler.Testing.Webhooks;

namespace Scheduler.Bench.Webhooks.Soak;

/// <summary>Reads the inbox by SQL, past the product.</summary>
internal sealed class InboxTable(WebhookPlace place)
{
    private readonly string _table = place.State == "postgres" ? "scheduler.inbox" : "inbox";

    /// <summary>All rows.</summary>
    public async Task<IReadOnlyList<InboxRow>> AllAsync()
    {
        await using var connection = await OpenAsync();
        return
        [
            .. await connection.QueryAsync<InboxRow>(
                $"SELECT number AS Number, state AS State, event_id AS EventId, order_key AS OrderKey FROM {_table}"
            ),
        ];
    }

    /// <summary>How many are not finished.</summary>
    public async Task<long> OpenEventsAsync()
    {
        await using var connection = await OpenAsync();
        return await connection.QuerySingleAsync<long>(
            $"SELECT count(*) FROM {_table} WHERE state IN ('received', 'processing', 'failed')"
        );
    }

    private async Task<DbConnection> OpenAsync()
    {
        DbConnection connection =
            place.State == "postgres" ? new NpgsqlConnection(place.StateAddress) : new SqliteConnection(place.StateAddress);
        await connection.OpenAsync();
        return connection;
    }
}
