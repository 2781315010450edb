using Microsoft.Data.Sqlite;

namespace Scheduler.Sqlite.Leases;

/// <summary>One prepared statement, whose text is the embedded file of its name. Not thread-safe.</summary>
internal sealed class Statement : IDisposable
{
    private readonly SqliteCommand _command;

    /// <summary>Takes the text from its file.</summary>
    /// <param name="connection">An open connection.</param>
    /// <param name="name">The name of the file without <c>.sql</c>.</param>
    /// <param name="parameters">The names of its parameters, in the order in which <see cref="With"/> takes their values.</param>
    public Statement(SqliteConnection connection, string name, params ReadOnlySpan<string> parameters)
    {
        _command = connection.CreateCommand();
        _command.CommandText = TextOf(name);
        foreach (var parameter in parameters)
        {
            _command.Parameters.Add(new SqliteParameter { ParameterName = parameter });
        }
    }

    /// <summary>Sets the values of the parameters.</summary>
    public SqliteCommand With(params ReadOnlySpan<object> values)
    {
        for (var i = 0; i < values.Length; i++)
        {
            _command.Parameters[i].Value = values[i];
        }
        return _command;
    }

    /// <summary>The text of an embedded file.</summary>
    public static string TextOf(string name)
    {
        using var stream =
            typeof(Statement).Assembly.GetManifestResourceStream(typeof(Statement), name + ".sql")
            ?? throw new InvalidOperationException($"{name}.sql is not embedded in {typeof(Statement).Assembly.GetName().Name}.");
        using var reader = new StreamReader(stream);
        return reader.ReadToEnd();
    }

    public void Dispose() => _command.Dispose();
}
