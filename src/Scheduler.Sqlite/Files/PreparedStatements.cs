using System.Data.Common;
using System.Runtime.CompilerServices;

namespace Scheduler.Sqlite.Files;

/// <summary>
/// Statements that are compiled once for a connection and kept with it: compiling costs several times what running a short one costs.
/// For the statements of every fire; the rest goes through Dapper. As little thread-safe as the connection.
/// </summary>
internal static class PreparedStatements
{
    private static readonly ConditionalWeakTable<DbConnection, Dictionary<string, DbCommand>> Kept = [];

    /// <summary>Runs a statement without rows.</summary>
    /// <param name="connection">Open; when it closes, the driver lets go of the statement.</param>
    /// <param name="transaction">The driver's transaction, if one is open.</param>
    /// <param name="sql">One statement; always the same text for the same call.</param>
    /// <param name="values">The parameters, in the same order in every call.</param>
    /// <returns>How many rows it changed.</returns>
    public static int ExecutePrepared(
        this DbConnection connection,
        DbTransaction? transaction,
        string sql,
        params ReadOnlySpan<(string Name, object? Value)> values
    )
    {
        var commands = Kept.GetOrCreateValue(connection);
        if (!commands.TryGetValue(sql, out var command))
        {
            command = connection.CreateCommand();
            command.CommandText = sql;
            foreach (var (name, _) in values)
            {
                var parameter = command.CreateParameter();
                parameter.ParameterName = name;
                command.Parameters.Add(parameter);
            }
            commands.Add(sql, command);
        }
        command.Transaction = transaction;
        for (var i = 0; i < values.Length; i++)
        {
            command.Parameters[i].Value = values[i].Value ?? DBNull.Value;
        }
        return command.ExecuteNonQuery();
    }
}
